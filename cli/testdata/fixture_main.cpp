// Stands for any program: only what the linker writes about it matters; it is never run.
int main() { return 0; }
