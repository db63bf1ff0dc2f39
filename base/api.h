// What a shared library of ours exports to another one of ours; everything else is compiled hidden.
#pragma once

#define FARCALL_API __attribute__((visibility("default")))
