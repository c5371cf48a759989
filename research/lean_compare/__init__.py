"""A Lean backtest against the embedded engine: differences, verdict and page. Spec: docs/specs/lean_stock.md."""
