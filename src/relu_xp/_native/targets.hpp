// The builds of `loops.cpp`, one for each instruction set that the compiler knows.

#pragma once

#include "loops.hpp"

struct Target {
    const char *name;
    void (*add_loops)(Add);
    bool runs;  // on this processor
};

// The best build for this processor, or a lesser one that the environment variable RELU_XP_CPU
// names, for tests. After an ImportError it has no name.
Target choose_target();
