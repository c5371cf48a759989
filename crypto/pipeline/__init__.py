"""The blueprint's stages: features, signal, portfolio, risk, execution, orders, post-trade."""
