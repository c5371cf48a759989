"""Studies of margin, liquidation and auto-deleveraging, each with a page of its own."""
