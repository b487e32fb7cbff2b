/* Samples of a batch to their places: writes by index, with every index checked.
 *
 * Plain C without Python. Functions that give -1 came to an index out of bounds; what was before it is written.
 */
#ifndef CC_SCATTER_H
#define CC_SCATTER_H

#include <stddef.h>
#include <stdint.h>

/* A matrix with a row per series and a column per slot; `samples` is NULL where there is none. */
typedef struct {
    float *samples;
    int64_t rows, columns;
} cc_scatter_block;

/* Minimum and maximum of some numbers; `count` is not 0. */
void cc_scatter_bounds(const int64_t *numbers, size_t count, int64_t *min, int64_t *max);

/* Set flags[(row >> shift) - first] for each row. */
int cc_scatter_flags(const int64_t *rows, size_t count, int shift, int64_t first, unsigned char *flags,
                     size_t flag_count);

/* Write values[i] to row rows[i], column columns[i] (or `column`, with columns NULL). Row r is row r % 2^shift of
 * blocks[(r >> shift) - first]. Of several for one place the last one counts. */
int cc_scatter_samples(const cc_scatter_block *blocks, size_t block_count, int64_t first, int shift,
                       const int64_t *rows, const int64_t *columns, int64_t column, const float *values, size_t count);

/* Raise newest[group_of[ids[i]]] (or newest[ids[i]], with group_of NULL) to times[i] (or `time`, with times NULL). */
int cc_scatter_newest(const int64_t *ids, const int64_t *times, int64_t time, size_t count, const int32_t *group_of,
                      size_t group_count, int64_t *newest, size_t newest_count);

#endif
