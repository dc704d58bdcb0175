"""The page, the WebSocket API, the ticket API with its members, and the functions behind them."""
