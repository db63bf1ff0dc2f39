"""Farcall's code generator; see README.md."""
