// Loops over rows, for operands that are broadcast, such as one slope a channel.
//
// An ordinary ufunc would copy broadcast operands into buffers, in pieces as short as a row.

#pragma once

#include "loops.hpp"
#include "numpy_api.hpp"

// The loops of one function for one type.
struct Loop {
    Run run, rows;
    int operands;   // without the result
    npy_intp size;  // of an element, in bytes
};

// The inner loop of a generalized ufunc, whose data is a `Loop`. Short rows are computed several at
// a time.
void loop_over_rows(char **addresses, const npy_intp *dimensions, const npy_intp *steps,
                    void *loop);

// Joins the axes of x that lie side by side and along which slopes are all broadcast, or all not.
// sizes[0] counts the elements along axes where slopes are broadcast, sizes[1] those along axes
// where slopes differ, and so on in turn. For example, x of shape (2, 3, 4, 5) and slopes of shape
// (3, 1, 1) give 2, 3, 20. Returns how many sizes there are (at most `axes` + 1), or 0 if the
// slopes do not broadcast to x.
int join_axes(const npy_intp *shape, int axes, const npy_intp *slopes, int slope_axes,
              npy_intp *sizes);

// The joined axes of a call with one slope a channel: axes before the channels, the channels, and
// axes after.
struct Channels {
    npy_intp outer, channels, inner;
};

// Runs a loop on contiguous arrays. The operands are arrays, then slopes, one a channel, then
// scalars; `addresses` holds theirs and that of the result, and is overwritten.
void run_with_slopes(const Loop &loop, char **addresses, int arrays, Channels of);

// Runs work on so many elements. From a few thousand on, other threads of Python may run meanwhile.
template <class Work> void run_unlocked(npy_intp elements, Work work) {
    constexpr npy_intp WorthUnlocking = 1 << 12;
    PyThreadState *const state = elements < WorthUnlocking ? nullptr : PyEval_SaveThread();
    work();
    if (state) PyEval_RestoreThread(state);
}
