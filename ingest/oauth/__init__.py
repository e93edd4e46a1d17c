"""Exchanges the secrets of OAuth clients for access tokens, and revokes those."""
