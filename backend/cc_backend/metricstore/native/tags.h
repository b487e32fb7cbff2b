/* Which clusters a batch names, without reading its lines.
 *
 * Plain C without Python.
 */
#ifndef CC_TAGS_H
#define CC_TAGS_H

#include <stddef.h>

typedef struct {
    const unsigned char *text;
    size_t length;
} tags_name;

/* Whether each `cluster=` in the bytes has a comma before it, and one of the names and then a comma or blank after it. */
int tags_only(const unsigned char *data, size_t size, const tags_name *names, size_t count);

#endif
