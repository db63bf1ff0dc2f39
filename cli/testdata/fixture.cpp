// Stands for any library: only what the linker writes about it matters.
__attribute__((visibility("default"))) int fixture_value() { return 1; }
