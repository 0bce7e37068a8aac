#include "rows.hpp"

#include <algorithm>
#include <cstring>

namespace {

constexpr npy_intp BufferBytes = 8192;
// Rows of up to so many bytes are joined although an operand is copied for each of them.
constexpr npy_intp ShortBytes = 128;

template <class T> void spread(char *to, const char *from, npy_intp step, npy_intp length) {
    if (step == sizeof(T)) {
        std::memcpy(to, from, length * sizeof(T));
    } else if (step == 0) {  // a branch of its own, which the compiler turns into a few wide stores
        T element;
        std::memcpy(&element, from, sizeof(T));
        for (npy_intp j = 0; j < length; j++) std::memcpy(to + j * sizeof(T), &element, sizeof(T));
    } else {
        for (npy_intp j = 0; j < length; j++)
            std::memcpy(to + j * sizeof(T), from + j * step, sizeof(T));
    }
}

void spread_row(npy_intp size, char *to, const char *from, npy_intp step, npy_intp length) {
    if (size == 2) spread<npy_uint16>(to, from, step, length);
    else if (size == 4) spread<npy_uint32>(to, from, step, length);
    else if (size == 8) spread<npy_uint64>(to, from, step, length);
    else spread<npy_longdouble>(to, from, step, length);
}

}  // namespace

void loop_over_rows(char **addresses, const npy_intp *dimensions, const npy_intp *steps,
                    void *data) {
    const Loop &loop = *static_cast<const Loop *>(data);
    const npy_intp count = dimensions[0],
                   length = dimensions[1], *const within = steps + loop.operands + 1;
    alignas(64) char buffers[BufferBytes];
    bool joins = length > 0, spreads[MostOperands] = {}, is_filled[MostOperands] = {};
    npy_intp joined[MostOperands], spread_before[MostOperands], spreading = 0;
    for (int k = 0; k <= loop.operands; k++) {
        const bool is_whole =
            within[k] == loop.size && (steps[k] == length * loop.size || count == 1);
        const bool is_one = within[k] == 0 && (steps[k] == 0 || count == 1);
        joined[k] = is_one ? 0 : loop.size;
        spreads[k] = !is_whole && !is_one;
        spread_before[k] = spreading;
        spreading += spreads[k];
        joins &= !spreads[k] || (k > 0 && k < loop.operands);
    }
    const npy_intp room = spreading ? (BufferBytes / spreading) & -64 : BufferBytes;
    for (int k = 0; k <= loop.operands; k++)
        joins &= !spreads[k] || length * loop.size <= (steps[k] ? ShortBytes : room / 2);
    if (!joins) return loop.rows(addresses, dimensions, steps, nullptr);
    const npy_intp together = spreading ? room / (length * loop.size) : count;
    for (npy_intp row = 0; row < count; row += together) {
        const npy_intp rows = std::min(together, count - row), elements = rows * length;
        char *at[MostOperands];
        for (int k = 0; k <= loop.operands; k++) {
            at[k] = addresses[k] + row * steps[k];
            if (!spreads[k]) continue;
            char *const buffer = buffers + spread_before[k] * room;
            for (npy_intp i = 0; i < rows && !is_filled[k]; i++)
                spread_row(loop.size, buffer + i * length * loop.size, at[k] + i * steps[k],
                           within[k], length);
            is_filled[k] = steps[k] == 0;  // the next rows have the same
            at[k] = buffer;
        }
        loop.run(at, &elements, joined, nullptr);
    }
}

int join_axes(const npy_intp *shape, int axes, const npy_intp *slopes, int slope_axes,
              npy_intp *sizes) {
    const int before = axes - slope_axes;
    if (before < 0) return 0;
    int last = 0;
    sizes[0] = 1;
    for (int i = 0; i < axes; i++) {
        const npy_intp slope_size = i < before ? 1 : slopes[i - before];
        if (slope_size != 1 && slope_size != shape[i]) return 0;
        if (shape[i] == 1) continue;
        const bool differs = slope_size != 1, last_differs = last % 2 == 1;
        if (differs != last_differs) sizes[++last] = 1;
        sizes[last] *= shape[i];
    }
    return last + 1;
}

void run_with_slopes(const Loop &loop, char **addresses, int arrays, Channels of) {
    if (of.channels == 1) of = {1, 1, of.outer * of.inner};
    const bool in_row = of.inner == 1;  // a channel is one element, so a row holds all channels
    const npy_intp rows = in_row ? of.outer : of.channels, length = in_row ? of.channels : of.inner;
    const npy_intp dimensions[] = {rows, length}, turns = in_row ? 1 : of.outer;
    npy_intp steps[2 * MostOperands] = {};
    npy_intp *const within = steps + loop.operands + 1;
    for (int k = 0; k <= loop.operands; k++)
        if (k < arrays || k == loop.operands) steps[k] = length * loop.size, within[k] = loop.size;
    steps[arrays] = in_row ? 0 : loop.size;
    within[arrays] = in_row ? loop.size : 0;
    for (npy_intp turn = 0; turn < turns; turn++) {
        loop_over_rows(addresses, dimensions, steps, const_cast<Loop *>(&loop));
        for (int k = 0; k <= loop.operands; k++) addresses[k] += rows * steps[k] * (k != arrays);
    }
}
