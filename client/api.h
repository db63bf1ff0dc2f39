// Marks what libfarcall.so exports to libcuda.so.1 and libcudart.so.N. Everything else stays
// hidden.
#pragma once

#define FARCALL_API __attribute__((visibility("default")))
