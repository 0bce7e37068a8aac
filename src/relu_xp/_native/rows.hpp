// The loops of the generalized ufuncs: rows of operands of which some are broadcast, such as a slope a channel.
//
// A ufunc would copy these into its buffers, by steps that are as short as they are. Included by `ufuncs.cpp` alone.

#include <algorithm>
#include <cstring>

namespace {

// Loops that `by_rows` runs, and what it has to know of them.
struct Rows {
    Run run, rows;
    int operands;
    npy_intp size;  // of an element
};

template <class T> void spread(char *to, const char *from, npy_intp step, npy_intp length) {
    if (step == sizeof(T)) {
        std::memcpy(to, from, length * sizeof(T));
    } else if (step == 0) {  // apart, since it is a few wide stores then
        T element;
        std::memcpy(&element, from, sizeof(T));
        for (npy_intp j = 0; j < length; j++) std::memcpy(to + j * sizeof(T), &element, sizeof(T));
    } else {
        for (npy_intp j = 0; j < length; j++) std::memcpy(to + j * sizeof(T), from + j * step, sizeof(T));
    }
}

// Long rows go to the loop as they are, and short ones several at a time.
void by_rows(char **args, const npy_intp *dimensions, const npy_intp *steps, void *data) {
    constexpr npy_intp Bytes = 8192, Short = 128, MostOperands = 7;
    const Rows &loop = *static_cast<const Rows *>(data);
    const npy_intp count = dimensions[0], length = dimensions[1], *const within = steps + loop.operands + 1;
    alignas(64) char buffers[Bytes];
    bool joins = length > 0, spreads[MostOperands] = {}, is_filled[MostOperands] = {};
    npy_intp joined[MostOperands], spread_before[MostOperands], spreading = 0;
    for (int k = 0; k <= loop.operands; k++) {
        const bool is_whole = within[k] == loop.size && (steps[k] == length * loop.size || count == 1);
        const bool is_one = within[k] == 0 && steps[k] == 0;
        joined[k] = is_one ? 0 : loop.size;
        spreads[k] = !is_whole && !is_one;
        spread_before[k] = spreading;
        spreading += spreads[k];
        joins &= !spreads[k] || (k > 0 && k < loop.operands);
    }
    const npy_intp room = spreading ? (Bytes / spreading) & -64 : Bytes;
    // What is to be spread anew for each row costs more than all but a short row.
    for (int k = 0; k <= loop.operands; k++) joins &= !spreads[k] || length * loop.size <= (steps[k] ? Short : room / 2);
    if (!joins) return loop.rows(args, dimensions, steps, nullptr);
    const npy_intp together = spreading ? room / (length * loop.size) : count;
    for (npy_intp row = 0; row < count; row += together) {
        const npy_intp rows = std::min(together, count - row), elements = rows * length;
        char *at[MostOperands];
        for (int k = 0; k <= loop.operands; k++) {
            at[k] = args[k] + row * steps[k];
            if (!spreads[k]) continue;
            char *const buffer = buffers + spread_before[k] * room;
            for (npy_intp i = 0; i < rows && !is_filled[k]; i++) {
                char *const to = buffer + i * length * loop.size;
                if (loop.size == 2) spread<npy_uint16>(to, at[k] + i * steps[k], within[k], length);
                else if (loop.size == 4) spread<npy_uint32>(to, at[k] + i * steps[k], within[k], length);
                else if (loop.size == 8) spread<npy_uint64>(to, at[k] + i * steps[k], within[k], length);
                else spread<npy_longdouble>(to, at[k] + i * steps[k], within[k], length);
            }
            is_filled[k] = steps[k] == 0;  // the next rows have the same
            at[k] = buffer;
        }
        loop.run(at, &elements, joined, nullptr);
    }
}

}  // namespace
