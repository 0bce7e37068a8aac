/* Check a kernel in C against the definition. The file has one case in each line.

    relu-xp vectors --out vectors --functions leaky_relu_vjp --dtypes float32
    cc -std=c11 -O2 -ffp-contract=off -o check examples/vectors.c && ./check vectors/leaky_relu_vjp_float32.json
*/
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The kernel to check: put yours here. */
static float leaky_relu_vjp(float x, float g, float s, float z) {
#ifdef MASKED /* a fault: it multiplies by masks of 0 and 1 */
    return g * (float)(x > 0) + s * g * (float)(x < 0) + z * g * (float)(x == 0);
#else
    if (x > 0) return g;
    if (x == 0) return z == 0 ? 0.0f : z * g;
    return s * g;
#endif
}

static float number(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Read the bits that follow a name in a line: the first number in hexadecimal. */
static uint32_t bits_of(const char *line, const char *name) {
    const char *found = strstr(line, name);
    const char *digits = found ? strstr(found, "0x") : NULL;
    if (!digits) {
        fprintf(stderr, "no %s in: %s", name, line);
        exit(2);
    }
    return (uint32_t)strtoul(digits, NULL, 16);
}

int main(int count, char **arguments) {
    static char line[1 << 16];
    FILE *file = count == 2 ? fopen(arguments[1], "r") : NULL;
    if (!file) return fprintf(stderr, "usage: check FILE.json\n"), 2;
    float s = 0, z = 0;
    int must = 0, conventions = 0, wrong = 0;
    while (fgets(line, sizeof line, file)) {
        if (strstr(line, "\"cases\": [")) { /* a group begins: its scalars hold for the next cases */
            s = number(bits_of(line, "\"negative_slope\""));
            z = number(bits_of(line, "\"grad_at_zero\""));
        } else if (strstr(line, "\"status\"")) {
            float x = number(bits_of(line, "\"x\"")), g = number(bits_of(line, "\"cotangent\""));
            float due = number(bits_of(line, "\"due\"")), got = leaky_relu_vjp(x, g, s, z);
            strstr(line, "\"convention\"") ? conventions++ : must++;
            if (memcmp(&got, &due, sizeof due) != 0 && !(got != got && due != due) && wrong++ < 3)
                printf("f(%a, %a), slope %a, at zero %a: got %a, expected %a\n", x, g, s, z, got, due);
        }
    }
    printf("%d of %d cases wrong, %d of them conventions\n", wrong, must + conventions, conventions);
    return must + conventions == 0 ? 2 : wrong != 0;
}
