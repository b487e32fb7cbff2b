/* The Python side of codec.c: buffers in, buffers out; every number from outside is checked here. */
#include "module_support.h"

#include <stdlib.h>
#include <string.h>

#include "codec.h"

#define MIN_UNLOCKED_SAMPLES 32768 /* from here on it pays to let other threads run */

static PyObject *index_error(void) { return cc_index_error("rows or columns are not there"); }

static PyThreadState *release_gil(Py_ssize_t samples) { return cc_release_gil(samples, MIN_UNLOCKED_SAMPLES); }

/* encode(samples, rows, slots, mantissa_bits) -> bytes */
static PyObject *encode(PyObject *Py_UNUSED(self), PyObject *args) {
    Py_buffer samples;
    Py_ssize_t rows, slots;
    unsigned mantissa_bits;
    PyObject *payload = NULL;
    uint8_t *buffer;
    size_t length;
    if (!PyArg_ParseTuple(args, "y*nnI", &samples, &rows, &slots, &mantissa_bits)) {
        return NULL;
    }
    if (rows < 0 || rows > CC_MAX_ROWS || slots < 0 || slots > CC_MAX_SLOTS || mantissa_bits > CC_MAX_MANTISSA_BITS ||
        samples.len != rows * slots * (Py_ssize_t)sizeof(float)) {
        PyBuffer_Release(&samples);
        return cc_value_error("no payload holds that many rows, slots or bits");
    }
    if (!cc_is_aligned(&samples, sizeof(float))) {
        PyBuffer_Release(&samples);
        return NULL;
    }
    buffer = malloc(cc_encode_bound((size_t)rows, (size_t)slots));
    if (buffer == NULL) {
        PyBuffer_Release(&samples);
        return PyErr_NoMemory();
    }
    PyThreadState *state = release_gil(rows * slots);
    length = cc_encode(samples.buf, (size_t)rows, (size_t)slots, mantissa_bits, buffer);
    cc_acquire_gil(state);
    payload = PyBytes_FromStringAndSize((const char *)buffer, (Py_ssize_t)length);
    free(buffer);
    PyBuffer_Release(&samples);
    return payload;
}

/* Where samples come from and go to, as `decode` and `gather` are told it. */
typedef struct {
    Py_buffer from, rows, out, out_rows;
    Py_ssize_t first, count, width, out_column;
} places;

static int parse_places(PyObject *args, places *p) {
    return PyArg_ParseTuple(args, "y*y*nnw*ny*n", &p->from, &p->rows, &p->first, &p->count, &p->out, &p->width,
                            &p->out_rows, &p->out_column);
}

static void release_places(places *p) {
    PyBuffer_Release(&p->from);
    PyBuffer_Release(&p->rows);
    PyBuffer_Release(&p->out);
    PyBuffer_Release(&p->out_rows);
}

/* Whether all places are there, else an error is set; `height` and `slots` are of what is read. */
static int places_valid(const places *p, Py_ssize_t height, Py_ssize_t slots) {
    if (!cc_is_aligned(&p->rows, sizeof(int64_t)) || !cc_is_aligned(&p->out_rows, sizeof(int64_t)) ||
        !cc_is_aligned(&p->out, sizeof(float))) {
        return 0;
    }
    const int64_t *rows = p->rows.buf, *out_rows = p->out_rows.buf;
    Py_ssize_t number = p->rows.len / (Py_ssize_t)sizeof(int64_t), out_height;
    if (p->rows.len != p->out_rows.len || p->rows.len % (Py_ssize_t)sizeof(int64_t) || p->first < 0 || p->count < 0 ||
        p->first > slots || p->count > slots - p->first || p->out_column < 0 || p->width < 0 ||
        p->out_column > p->width || p->count > p->width - p->out_column) {
        index_error();
        return 0;
    }
    out_height = p->width ? p->out.len / p->width / (Py_ssize_t)sizeof(float) : 0;
    for (Py_ssize_t i = 0; i < number; i++) {
        if (rows[i] < 0 || rows[i] >= height || (p->width && (out_rows[i] < 0 || out_rows[i] >= out_height))) {
            index_error();
            return 0;
        }
    }
    return 1;
}

/* decode(payload, rows, first, count, out, width, out_rows, out_column) */
static PyObject *decode(PyObject *Py_UNUSED(self), PyObject *args) {
    places p;
    cc_payload payload;
    const char *error;
    if (!parse_places(args, &p)) {
        return NULL;
    }
    error = cc_open(p.from.buf, (size_t)p.from.len, &payload);
    if (error != NULL) {
        release_places(&p);
        return cc_value_error(error);
    }
    if (!places_valid(&p, payload.rows, payload.slots)) {
        release_places(&p);
        return NULL;
    }
    const int64_t *rows = p.rows.buf, *out_rows = p.out_rows.buf;
    Py_ssize_t number = p.rows.len / (Py_ssize_t)sizeof(int64_t);
    PyThreadState *state = release_gil(number * payload.slots);
    for (Py_ssize_t i = 0; i < number && error == NULL; i++) {
        float slots[CC_MAX_SLOTS];
        error = cc_decode_row(p.from.buf, &payload, (size_t)rows[i], slots);
        if (error == NULL && p.count) {
            memcpy((float *)p.out.buf + out_rows[i] * p.width + p.out_column, slots + p.first,
                   (size_t)p.count * sizeof(float));
        }
    }
    cc_acquire_gil(state);
    release_places(&p);
    if (error != NULL) {
        return cc_value_error(error);
    }
    Py_RETURN_NONE;
}

/* gather(samples, slots, (as decode)) */
static PyObject *gather(PyObject *Py_UNUSED(self), PyObject *args) {
    places p;
    Py_ssize_t slots;
    if (!PyArg_ParseTuple(args, "y*ny*nnw*ny*n", &p.from, &slots, &p.rows, &p.first, &p.count, &p.out, &p.width,
                          &p.out_rows, &p.out_column)) {
        return NULL;
    }
    if (!cc_is_aligned(&p.from, sizeof(float)) ||
        !places_valid(&p, slots > 0 ? p.from.len / slots / (Py_ssize_t)sizeof(float) : 0, slots)) {
        release_places(&p);
        return NULL;
    }
    const int64_t *rows = p.rows.buf, *out_rows = p.out_rows.buf;
    Py_ssize_t number = p.rows.len / (Py_ssize_t)sizeof(int64_t);
    PyThreadState *state = release_gil(number * p.count);
    for (Py_ssize_t i = 0; i < number && p.count; i++) {
        memcpy((float *)p.out.buf + out_rows[i] * p.width + p.out_column,
               (const float *)p.from.buf + rows[i] * slots + p.first, (size_t)p.count * sizeof(float));
    }
    cc_acquire_gil(state);
    release_places(&p);
    Py_RETURN_NONE;
}

/* summarise(samples, columns, min, max, total, number) */
static PyObject *summarise(PyObject *Py_UNUSED(self), PyObject *args) {
    Py_buffer samples, min, max, total, number;
    Py_ssize_t columns, rows;
    int valid;
    if (!PyArg_ParseTuple(args, "y*nw*w*w*w*", &samples, &columns, &min, &max, &total, &number)) {
        return NULL;
    }
    rows = number.len / (Py_ssize_t)sizeof(int32_t);
    valid = columns >= 0 && min.len == rows * 4 && max.len == rows * 4 && total.len == rows * 8 &&
            number.len == rows * 4 && (rows == 0 || columns <= PY_SSIZE_T_MAX / 4 / rows) &&
            samples.len == rows * columns * 4;
    if (!valid) {
        index_error();
    }
    valid = valid && cc_is_aligned(&samples, 4) && cc_is_aligned(&min, 4) && cc_is_aligned(&max, 4) &&
            cc_is_aligned(&total, 8) && cc_is_aligned(&number, 4);
    if (valid) {
        PyThreadState *state = release_gil(rows * columns);
        cc_summarise(samples.buf, (size_t)rows, (size_t)columns, min.buf, max.buf, total.buf, number.buf);
        cc_acquire_gil(state);
    }
    PyBuffer_Release(&samples);
    PyBuffer_Release(&min);
    PyBuffer_Release(&max);
    PyBuffer_Release(&total);
    PyBuffer_Release(&number);
    if (!valid) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* combine(samples, columns, mean, data, number) */
static PyObject *combine(PyObject *Py_UNUSED(self), PyObject *args) {
    Py_buffer samples, data, number;
    Py_ssize_t columns;
    int mean, valid;
    double *total = NULL;
    if (!PyArg_ParseTuple(args, "y*npw*w*", &samples, &columns, &mean, &data, &number)) {
        return NULL;
    }
    valid = columns >= 0 && columns <= PY_SSIZE_T_MAX / 8 && data.len == columns * 4 && number.len == columns * 4 &&
            (columns ? samples.len % (columns * 4) == 0 : samples.len == 0);
    if (!valid) {
        index_error();
    }
    valid = valid && cc_is_aligned(&samples, 4) && cc_is_aligned(&data, 4) && cc_is_aligned(&number, 4);
    if (valid && columns) {
        total = calloc((size_t)columns, sizeof *total);
        if (total != NULL) {
            size_t rows = (size_t)(samples.len / (columns * 4));
            PyThreadState *state = release_gil(samples.len / 4);
            memset(number.buf, 0, (size_t)number.len);
            cc_accumulate(samples.buf, rows, (size_t)columns, total, number.buf);
            cc_finish(total, number.buf, (size_t)columns, mean, data.buf);
            cc_acquire_gil(state);
            free(total);
        } else {
            PyErr_NoMemory();
        }
    }
    PyBuffer_Release(&samples);
    PyBuffer_Release(&data);
    PyBuffer_Release(&number);
    if (PyErr_Occurred()) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"encode", encode, METH_VARARGS, NULL},   {"decode", decode, METH_VARARGS, NULL},
    {"gather", gather, METH_VARARGS, NULL},   {"summarise", summarise, METH_VARARGS, NULL},
    {"combine", combine, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {CC_MODULE_RULES, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cc_backend.metricstore._codec",
    .m_doc = "The codec of compressed blocks.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__codec(void) { return PyModuleDef_Init(&module); }
