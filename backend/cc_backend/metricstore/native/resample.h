/* Fewer samples of a curve: largest triangle, three buckets. Knows no Python, allocates nothing. */
#ifndef CC_RESAMPLE_H
#define CC_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* Whether `number` edges, at least three, do not fall and lie in [0, length). */
int cc_edges_are_valid(const int64_t *edges, size_t number, size_t length);

/* Write `number` of the `length` samples of a row: the first, one of each bucket [edges[i], edges[i + 1]), the last.
 *
 * Of a bucket the sample is picked that spans the largest triangle with the one picked before and the mean of the
 * samples [edges[i + 1], edges[i + 2]]; where an area is NaN, the last such sample. The edges must be valid. */
void cc_lttb(const float *samples, size_t length, const int64_t *edges, size_t number, float *out);

#endif
