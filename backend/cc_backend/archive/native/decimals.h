/* Numbers as JSON text with two decimals. Knows no Python, allocates nothing.
 *
 * Halves are rounded away from zero, -0.00 is written 0.00, NaN and infinities are null, and no number has an exponent.
 * From 10^12 on a number is not rounded first: its own digits are written, halves going to the even neighbour. */
#ifndef CC_DECIMALS_H
#define CC_DECIMALS_H

#include <stddef.h>

/* The longest number, -DBL_MAX: a sign, 309 digits, a point, two decimals; and the comma behind it. */
#define CC_MAX_NUMBER_BYTES 314

/* Write numbers, each with a comma behind it, until `count` are written or less than CC_MAX_NUMBER_BYTES of the `room`
 * are left. Returns how many were written and sets `used` to the number of bytes they took. */
size_t cc_write_floats(const float *numbers, size_t count, char *out, size_t room, size_t *used);
size_t cc_write_doubles(const double *numbers, size_t count, char *out, size_t room, size_t *used);

#endif
