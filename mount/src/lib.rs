//! Spelunk's presenters: each translates a tree into what the outside understands, and decides nothing.
