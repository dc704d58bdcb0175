"""API Gateway: the WebSocket API with its connections, frames and authorizer, and the events that functions get."""
