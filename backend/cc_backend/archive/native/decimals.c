#include "decimals.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

_Static_assert(sizeof(float) == 4 && FLT_MANT_DIG == 24, "float is not IEEE 754 binary32");
_Static_assert(sizeof(double) == 8 && DBL_MANT_DIG == 53 && DBL_MAX_10_EXP == 308, "double is not IEEE 754 binary64");
_Static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 1, "products of doubles would have more than 53 bits");
_Static_assert(CC_MAX_NUMBER_BYTES == 1 + (DBL_MAX_10_EXP + 1) + 3 + 1, "the longest number does not fit");

/* Beyond this a double times 100 loses whole numbers: the limit of round2_array, which must not differ. */
#define MAX_WITH_HUNDREDTHS 1e12
#define TWO_TO_53 9007199254740992.0
#define GROUP 1000000000u
#define GROUP_DIGITS 9
#define MAX_GROUPS ((DBL_MAX_10_EXP + 1 + GROUP_DIGITS - 1) / GROUP_DIGITS)
#define MAX_SHIFT 29

_Static_assert((1u << MAX_SHIFT) < GROUP, "a carry is more than a group");

static const char PAIRS[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                            "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";
_Static_assert(sizeof PAIRS == 201, "two digits for each number from 0 to 99");

static size_t digits_of(uint64_t number) {
    size_t digits = 1;
    for (; number >= 10000; number /= 10000) {
        digits += 4;
    }
    return digits + (number >= 10) + (number >= 100) + (number >= 1000);
}

static char *write_integer(char *out, uint64_t number) {
    char *end = out + digits_of(number), *at = end;
    while (number >= 100) {
        at -= 2;
        memcpy(at, PAIRS + 2 * (number % 100), 2);
        number /= 100;
    }
    if (number >= 10) {
        memcpy(at - 2, PAIRS + 2 * number, 2);
    } else {
        at[-1] = (char)('0' + number);
    }
    return end;
}

static char *write_hundredths(char *out, uint64_t hundredths) {
    out = write_integer(out, hundredths / 100);
    *out++ = '.';
    memcpy(out, PAIRS + 2 * (hundredths % 100), 2);
    return out + 2;
}

/* Hundredths of a magnitude below 10^12, halves up. The difference is exact; adding 0.5 before the cut would not be. */
static uint64_t rounded_hundredths(double magnitude) {
    double scaled = magnitude * 100.0;
    uint64_t whole = (uint64_t)scaled;
    return whole + (scaled - (double)whole >= 0.5);
}

/* Hundredths of a magnitude from 10^12 to 2^53, whose fraction has at most 13 bits: all steps are exact. */
static uint64_t exact_hundredths(double magnitude) {
    uint64_t whole = (uint64_t)magnitude;
    double scaled = (magnitude - (double)whole) * 100.0;
    uint64_t hundredths = (uint64_t)scaled;
    double rest = scaled - (double)hundredths;
    return whole * 100 + hundredths + (rest > 0.5 || (rest == 0.5 && hundredths % 2 == 1));
}

/* A magnitude from 2^53 on, which is an integer: its mantissa times a power of two, in groups of nine digits. */
static char *write_large(char *out, double magnitude) {
    uint32_t groups[MAX_GROUPS]; /* the lowest first */
    size_t count = 0;
    int exponent;
    uint64_t mantissa = (uint64_t)ldexp(frexp(magnitude, &exponent), DBL_MANT_DIG);
    exponent -= DBL_MANT_DIG;
    for (; mantissa != 0; mantissa /= GROUP) {
        groups[count++] = (uint32_t)(mantissa % GROUP);
    }
    while (exponent > 0) {
        int shift = exponent < MAX_SHIFT ? exponent : MAX_SHIFT;
        uint64_t carry = 0;
        for (size_t i = 0; i < count; i++) {
            carry += (uint64_t)groups[i] << shift;
            groups[i] = (uint32_t)(carry % GROUP);
            carry /= GROUP;
        }
        if (carry != 0) { /* less than a group, since the shift is less than that */
            groups[count++] = (uint32_t)carry;
        }
        exponent -= shift;
    }
    out = write_integer(out, groups[--count]);
    while (count > 0) {
        uint32_t group = groups[--count];
        for (size_t digit = GROUP_DIGITS; digit > 0; digit--) {
            out[digit - 1] = (char)('0' + group % 10);
            group /= 10;
        }
        out += GROUP_DIGITS;
    }
    memcpy(out, ".00", 3);
    return out + 3;
}

/* At most CC_MAX_NUMBER_BYTES. */
static char *write_number(char *out, double number) {
    double magnitude = fabs(number);
    if (magnitude < MAX_WITH_HUNDREDTHS) {
        uint64_t hundredths = rounded_hundredths(magnitude);
        if (number < 0.0 && hundredths != 0) {
            *out++ = '-';
        }
        out = write_hundredths(out, hundredths);
    } else if (isfinite(number)) {
        if (number < 0.0) {
            *out++ = '-';
        }
        out = magnitude < TWO_TO_53 ? write_hundredths(out, exact_hundredths(magnitude)) : write_large(out, magnitude);
    } else {
        memcpy(out, "null", 4);
        out += 4;
    }
    *out++ = ',';
    return out;
}

size_t cc_write_floats(const float *numbers, size_t count, char *out, size_t room, size_t *used) {
    char *at = out;
    size_t done = 0;
    for (; done < count && room - (size_t)(at - out) >= CC_MAX_NUMBER_BYTES; done++) {
        at = write_number(at, (double)numbers[done]);
    }
    *used = (size_t)(at - out);
    return done;
}

size_t cc_write_doubles(const double *numbers, size_t count, char *out, size_t room, size_t *used) {
    char *at = out;
    size_t done = 0;
    for (; done < count && room - (size_t)(at - out) >= CC_MAX_NUMBER_BYTES; done++) {
        at = write_number(at, numbers[done]);
    }
    *used = (size_t)(at - out);
    return done;
}
