"""The part of raylight that other packs reach for."""
