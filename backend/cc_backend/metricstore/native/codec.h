/* The codec of compressed blocks, and what is done most with matrices of samples. Knows no Python.
 *
 * payload_format.py and docs/formats.md describe the bytes. Nothing here allocates, and nothing trusts a payload. */
#ifndef CC_CODEC_H
#define CC_CODEC_H

#include <stddef.h>
#include <stdint.h>

#define CC_HEADER_BYTES 16
#define CC_MAX_ROWS 1024
#define CC_MAX_SLOTS 256
#define CC_MAX_MANTISSA_BITS 22

/* What a payload says of itself; row r is the bytes [starts[r], starts[r + 1]). */
typedef struct {
    uint32_t rows, slots, first, width;
    uint32_t starts[CC_MAX_ROWS + 1];
} cc_payload;

/* At most so many bytes come out of cc_encode. */
size_t cc_encode_bound(size_t rows, size_t slots);

/* Writes the payload of a matrix (rows one after the other, at most CC_MAX_ROWS of at most CC_MAX_SLOTS) and gives its
 * length. mantissa_bits 1 to 22 rounds, 0 does not. The samples may change meanwhile: each is read once. */
size_t cc_encode(const float *samples, size_t rows, size_t slots, unsigned mantissa_bits, uint8_t *out);

/* NULL if the header is right and the lengths add up, else what is wrong. */
const char *cc_open(const uint8_t *data, size_t length, cc_payload *payload);

/* Writes all slots of a row of an opened payload; NULL if it was right, else what is wrong. */
const char *cc_decode_row(const uint8_t *data, const cc_payload *payload, size_t row, float *slots);

/* Per row: minimum and maximum (NaN without samples), sum, number of samples. */
void cc_summarise(const float *samples, size_t rows, size_t columns, float *min, float *max, double *total,
                  int32_t *number);

/* Per column: sum of the samples there are and their number. Both must be zero at first. */
void cc_accumulate(const float *samples, size_t rows, size_t columns, double *total, int32_t *number);

/* Sums, or means, of which there is at least one sample; else NaN. */
void cc_finish(const double *total, const int32_t *number, size_t columns, int mean, float *out);

#endif
