"""One file per kind of output. Each gives a dict of path under build/gen -> text; __main__ writes what changed."""
