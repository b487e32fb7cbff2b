/* The Python side of resample.c: arrays in, an array filled; every number from outside is checked here. */
#include "module_support.h"

#include "resample.h"

#define MIN_SAMPLES_WITHOUT_GIL 32768 /* fewer are done before another thread could start */

/* lttb(samples, rows, edges, out): `samples` are rows one after the other, of each `out` has as many as there are edges
 */
static PyObject *lttb(PyObject *Py_UNUSED(self), PyObject *args) {
    PyObject *sources[3];
    Py_buffer samples, edges, out;
    Py_ssize_t rows;
    if (!PyArg_ParseTuple(args, "OnOO", &sources[0], &rows, &sources[1], &sources[2])) {
        return NULL;
    }
    if (!cc_get_buffer(sources[0], &samples, sizeof(float), -1, PyBUF_C_CONTIGUOUS)) {
        return NULL;
    }
    if (!cc_get_buffer(sources[1], &edges, sizeof(int64_t), -1, PyBUF_C_CONTIGUOUS)) {
        PyBuffer_Release(&samples);
        return NULL;
    }
    if (!cc_get_buffer(sources[2], &out, sizeof(float), -1, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)) {
        PyBuffer_Release(&samples);
        PyBuffer_Release(&edges);
        return NULL;
    }
    Py_ssize_t count = samples.len / (Py_ssize_t)sizeof(float), number = edges.len / (Py_ssize_t)sizeof(int64_t);
    Py_ssize_t length = rows > 0 ? count / rows : 0;
    int valid = rows > 0 && length * rows == count && number <= length &&
                out.len == rows * number * (Py_ssize_t)sizeof(float) &&
                cc_edges_are_valid(edges.buf, (size_t)number, (size_t)length);
    if (valid) {
        PyThreadState *state = cc_release_gil(count, MIN_SAMPLES_WITHOUT_GIL);
        for (Py_ssize_t row = 0; row < rows; row++) {
            cc_lttb((const float *)samples.buf + row * length, (size_t)length, edges.buf, (size_t)number,
                    (float *)out.buf + row * number);
        }
        cc_acquire_gil(state);
    } else {
        cc_index_error("rows or edges do not fit the samples");
    }
    PyBuffer_Release(&samples);
    PyBuffer_Release(&edges);
    PyBuffer_Release(&out);
    if (!valid) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"lttb", lttb, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {CC_MODULE_RULES, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cc_backend.metricstore._resample",
    .m_doc = "Fewer samples of a curve.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__resample(void) { return PyModuleDef_Init(&module); }
