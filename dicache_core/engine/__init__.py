"""One sampling run from inside: sessions, forward passes, decisions, gates, storage."""
