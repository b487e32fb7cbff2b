/* The Python side of codec.c: buffers in, buffers out; every number from outside is checked here. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>
#include <string.h>

#include "codec.h"

#define MANY_SAMPLES 32768 /* from here on it pays to let other threads run */

static PyObject *fault(const char *text) {
    PyErr_SetString(PyExc_ValueError, text);
    return NULL;
}

static PyObject *not_there(void) {
    PyErr_SetString(PyExc_IndexError, "rows or columns are not there");
    return NULL;
}

static PyThreadState *let_others_run(Py_ssize_t samples) {
    return samples >= MANY_SAMPLES ? PyEval_SaveThread() : NULL;
}

static void go_on(PyThreadState *state) {
    if (state != NULL) {
        PyEval_RestoreThread(state);
    }
}

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
        return fault("no payload holds that many rows, slots or bits");
    }
    buffer = malloc(cc_encode_bound((size_t)rows, (size_t)slots));
    if (buffer == NULL) {
        PyBuffer_Release(&samples);
        return PyErr_NoMemory();
    }
    PyThreadState *state = let_others_run(rows * slots);
    length = cc_encode(samples.buf, (size_t)rows, (size_t)slots, mantissa_bits, buffer);
    go_on(state);
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

static int places_parsed(PyObject *args, places *p) {
    return PyArg_ParseTuple(args, "y*y*nnw*ny*n", &p->from, &p->rows, &p->first, &p->count, &p->out, &p->width,
                            &p->out_rows, &p->out_column);
}

static void places_released(places *p) {
    PyBuffer_Release(&p->from);
    PyBuffer_Release(&p->rows);
    PyBuffer_Release(&p->out);
    PyBuffer_Release(&p->out_rows);
}

/* Whether all places are there; `height` and `slots` are of what is read. */
static int places_right(const places *p, Py_ssize_t height, Py_ssize_t slots) {
    const int64_t *rows = p->rows.buf, *out_rows = p->out_rows.buf;
    Py_ssize_t number = p->rows.len / (Py_ssize_t)sizeof(int64_t), out_height;
    if (p->rows.len != p->out_rows.len || p->rows.len % (Py_ssize_t)sizeof(int64_t) || p->first < 0 || p->count < 0 ||
        p->first > slots || p->count > slots - p->first || p->out_column < 0 || p->width < 0 ||
        p->out_column > p->width || p->count > p->width - p->out_column) {
        return 0;
    }
    out_height = p->width ? p->out.len / p->width / (Py_ssize_t)sizeof(float) : 0;
    for (Py_ssize_t i = 0; i < number; i++) {
        if (rows[i] < 0 || rows[i] >= height || (p->width && (out_rows[i] < 0 || out_rows[i] >= out_height))) {
            return 0;
        }
    }
    return 1;
}

/* decode(payload, rows, first, count, out, width, out_rows, out_column) */
static PyObject *decode(PyObject *Py_UNUSED(self), PyObject *args) {
    places p;
    cc_payload payload;
    const char *wrong;
    if (!places_parsed(args, &p)) {
        return NULL;
    }
    wrong = cc_open(p.from.buf, (size_t)p.from.len, &payload);
    if (wrong != NULL) {
        places_released(&p);
        return fault(wrong);
    }
    if (!places_right(&p, payload.rows, payload.slots)) {
        places_released(&p);
        return not_there();
    }
    const int64_t *rows = p.rows.buf, *out_rows = p.out_rows.buf;
    Py_ssize_t number = p.rows.len / (Py_ssize_t)sizeof(int64_t);
    PyThreadState *state = let_others_run(number * payload.slots);
    for (Py_ssize_t i = 0; i < number && wrong == NULL; i++) {
        float slots[CC_MAX_SLOTS];
        wrong = cc_decode_row(p.from.buf, &payload, (size_t)rows[i], slots);
        if (wrong == NULL && p.count) {
            memcpy((float *)p.out.buf + out_rows[i] * p.width + p.out_column, slots + p.first,
                   (size_t)p.count * sizeof(float));
        }
    }
    go_on(state);
    places_released(&p);
    if (wrong != NULL) {
        return fault(wrong);
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
    if (slots < 0 || !places_right(&p, slots ? p.from.len / slots / (Py_ssize_t)sizeof(float) : 0, slots)) {
        places_released(&p);
        return not_there();
    }
    const int64_t *rows = p.rows.buf, *out_rows = p.out_rows.buf;
    Py_ssize_t number = p.rows.len / (Py_ssize_t)sizeof(int64_t);
    PyThreadState *state = let_others_run(number * p.count);
    for (Py_ssize_t i = 0; i < number && p.count; i++) {
        memcpy((float *)p.out.buf + out_rows[i] * p.width + p.out_column,
               (const float *)p.from.buf + rows[i] * slots + p.first, (size_t)p.count * sizeof(float));
    }
    go_on(state);
    places_released(&p);
    Py_RETURN_NONE;
}

/* summarise(samples, columns, least, highest, total, number) */
static PyObject *summarise(PyObject *Py_UNUSED(self), PyObject *args) {
    Py_buffer samples, least, highest, total, number;
    Py_ssize_t columns, rows;
    int right;
    if (!PyArg_ParseTuple(args, "y*nw*w*w*w*", &samples, &columns, &least, &highest, &total, &number)) {
        return NULL;
    }
    rows = number.len / (Py_ssize_t)sizeof(int32_t);
    right = columns >= 0 && least.len == rows * 4 && highest.len == rows * 4 && total.len == rows * 8 &&
            number.len == rows * 4 &&
            (rows == 0 || columns <= PY_SSIZE_T_MAX / 4 / rows) && samples.len == rows * columns * 4;
    if (right) {
        PyThreadState *state = let_others_run(rows * columns);
        cc_summarise(samples.buf, (size_t)rows, (size_t)columns, least.buf, highest.buf, total.buf, number.buf);
        go_on(state);
    }
    PyBuffer_Release(&samples);
    PyBuffer_Release(&least);
    PyBuffer_Release(&highest);
    PyBuffer_Release(&total);
    PyBuffer_Release(&number);
    if (!right) {
        return not_there();
    }
    Py_RETURN_NONE;
}

/* combine(samples, columns, mean, data, number) */
static PyObject *combine(PyObject *Py_UNUSED(self), PyObject *args) {
    Py_buffer samples, data, number;
    Py_ssize_t columns;
    int mean, right;
    double *total = NULL;
    if (!PyArg_ParseTuple(args, "y*npw*w*", &samples, &columns, &mean, &data, &number)) {
        return NULL;
    }
    right = columns >= 0 && columns <= PY_SSIZE_T_MAX / 8 && data.len == columns * 4 && number.len == columns * 4 &&
            (columns ? samples.len % (columns * 4) == 0 : samples.len == 0);
    if (right && columns) {
        total = calloc((size_t)columns, sizeof *total);
        if (total != NULL) {
            size_t rows = (size_t)(samples.len / (columns * 4));
            PyThreadState *state = let_others_run(samples.len / 4);
            memset(number.buf, 0, (size_t)number.len);
            cc_accumulate(samples.buf, rows, (size_t)columns, total, number.buf);
            cc_finish(total, number.buf, (size_t)columns, mean, data.buf);
            go_on(state);
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
    if (!right) {
        return not_there();
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"encode", encode, METH_VARARGS, NULL},       {"decode", decode, METH_VARARGS, NULL},
    {"gather", gather, METH_VARARGS, NULL},       {"summarise", summarise, METH_VARARGS, NULL},
    {"combine", combine, METH_VARARGS, NULL},     {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_codec", .m_doc = "The codec of compressed blocks.", .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__codec(void) { return PyModuleDef_Init(&module); }
