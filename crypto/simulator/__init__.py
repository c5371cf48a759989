"""The embedded exchange: matching, settlement clock, wallets and the event loop."""
