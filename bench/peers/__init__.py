"""Other engines on the same bars. Each runs in a process of its own, so that its packages may differ from ours."""
