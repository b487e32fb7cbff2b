#include "resample.h"

#include <float.h>
#include <math.h>

_Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "floats are not IEEE 754 numbers");
_Static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 1, "areas would be other ones than NumPy's");

int cc_edges_are_valid(const int64_t *edges, size_t number, size_t length) {
    int64_t before = 0;
    if (number < 3) {
        return 0;
    }
    for (size_t i = 0; i < number; i++) {
        if (edges[i] < before || (uint64_t)edges[i] >= length) {
            return 0;
        }
        before = edges[i];
    }
    return 1;
}

/* The mean of [begin, end], added up one after the other, as the twin does it. */
static double mean_of(const float *samples, int64_t begin, int64_t end) {
    double total = (double)samples[begin];
    for (int64_t i = begin + 1; i <= end; i++) {
        total += (double)samples[i];
    }
    return total / (double)(end - begin + 1);
}

static int64_t pick(const float *samples, int64_t before, int64_t low, int64_t middle, int64_t high) {
    const double before_x = (double)before, before_y = (double)samples[before];
    const double centre_y = mean_of(samples, middle, high);
    const double width = before_x - (double)(middle + high) / 2.0, height = centre_y - before_y;
    double largest = -1.0;
    int64_t picked = low, last_missing = -1;
    for (int64_t i = low; i < middle; i++) {
        double area = fabs(width * ((double)samples[i] - before_y) - (before_x - (double)i) * height);
        if (isnan(area)) {
            last_missing = i;
        } else if (area > largest) {
            largest = area;
            picked = i;
        }
    }
    return last_missing < 0 ? picked : last_missing;
}

void cc_lttb(const float *samples, size_t length, const int64_t *edges, size_t number, float *out) {
    int64_t picked = 0;
    out[0] = samples[0];
    for (size_t i = 0; i + 2 < number; i++) {
        picked = pick(samples, picked, edges[i], edges[i + 1], edges[i + 2]);
        out[i + 1] = samples[picked];
    }
    out[number - 1] = samples[length - 1];
}
