#include "tags.h"

#include <string.h>

static const char KEY[] = "cluster=";
enum { KEY_BYTES = sizeof KEY - 1, BLOCK = 64 };

/* Whether what begins at `at`, perhaps the key, is no key or one with a name that is wanted. */
static int fine(const unsigned char *data, size_t size, size_t at, const tags_name *names, size_t count) {
    if (memcmp(data + at, KEY, KEY_BYTES) != 0) return 1;
    if (!at || data[at - 1] != ',') return 0;
    const unsigned char *name = data + at + KEY_BYTES;
    size_t left = size - at - KEY_BYTES;
    for (size_t number = 0; number < count; number++) {
        size_t length = names[number].length;
        if (left > length && (name[length] == ',' || name[length] == ' ') && !memcmp(name, names[number].text, length))
            return 1;
    }
    return 0;
}

int tags_only(const unsigned char *data, size_t size, const tags_name *names, size_t count) {
    size_t at = 0;
    while (size - at >= BLOCK + KEY_BYTES) {
        /* Both ends of the key at once for a block of places: compilers do this with few instructions. */
        unsigned char ends[BLOCK];
        for (size_t place = 0; place < BLOCK; place++)
            ends[place] = (data[at + place] == 'c') & (data[at + place + KEY_BYTES - 1] == '=');
        for (const unsigned char *next = ends, *hit; (hit = memchr(next, 1, (size_t)(ends + BLOCK - next))); next = hit + 1)
            if (!fine(data, size, at + (size_t)(hit - ends), names, count)) return 0;
        at += BLOCK;
    }
    for (; size - at >= KEY_BYTES; at++)
        if (!fine(data, size, at, names, count)) return 0;
    return 1;
}
