"""Keeps a connection from reading more while it holds data that it has not read."""

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl


class HoldingFlow(FlowControl):
    """uvicorn's flow control, which reads nothing more while requests are held."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.held = b""

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()
