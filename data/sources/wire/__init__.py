"""Pure parsers: the bytes of one answer in, columns or listings out."""
