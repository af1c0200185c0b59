//! Named predicates over a whole map that hold after every request.
