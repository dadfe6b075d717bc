"""Push: the rows of live topics, to WebSocket subscribers, as they come."""
