"""Downloads from venues: archives and REST into the lake. Spec: docs/specs/sources.md."""
