"""Declares webhooks: their events, forms, queue and signatures."""
