/* The Python side of decimals.c: an array in, its text out; what kind of array it is, is checked here. */
#include "module_support.h"

#include <string.h>

#include "decimals.h"

#define MIN_NUMBERS_WITHOUT_GIL 32768 /* fewer are written before another thread could start */
#define USUAL_NUMBER_BYTES 8

static size_t write_some(const Py_buffer *numbers, Py_ssize_t first, Py_ssize_t count, char *out, Py_ssize_t room,
                         size_t *used) {
    if (numbers->itemsize == sizeof(float)) {
        return cc_write_floats((const float *)numbers->buf + first, (size_t)(count - first), out, (size_t)room, used);
    }
    return cc_write_doubles((const double *)numbers->buf + first, (size_t)(count - first), out, (size_t)room, used);
}

/* The buffer of a C-contiguous array of floats or doubles. Returns 0 with an error set for anything else. */
static int get_numbers(PyObject *array, Py_buffer *numbers) {
    if (PyObject_GetBuffer(array, numbers, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
        return 0;
    }
    const char *format = numbers->format != NULL ? numbers->format : "B";
    if ((strcmp(format, "f") == 0 && numbers->itemsize == sizeof(float)) ||
        (strcmp(format, "d") == 0 && numbers->itemsize == sizeof(double))) {
        if (cc_is_aligned(numbers, (size_t)numbers->itemsize)) {
            return 1;
        }
    } else {
        cc_value_error("the array must be of native 32-bit or 64-bit floats");
    }
    PyBuffer_Release(numbers);
    return 0;
}

/* Room for so many more numbers of the usual length, and for one of any length; -1 if no memory has that. */
static Py_ssize_t capacity_for(Py_ssize_t used, Py_ssize_t count) {
    const Py_ssize_t known = used + CC_MAX_NUMBER_BYTES;
    return count > (PY_SSIZE_T_MAX - known) / USUAL_NUMBER_BYTES ? -1 : known + count * USUAL_NUMBER_BYTES;
}

static PyObject *text_of(const Py_buffer *numbers) {
    Py_ssize_t count = numbers->len / numbers->itemsize, done = 0, used = 1;
    Py_ssize_t capacity = capacity_for(used, count);
    PyObject *text = capacity < 0 ? PyErr_NoMemory() : PyBytes_FromStringAndSize(NULL, capacity);
    while (text != NULL && done < count) {
        /* nobody else knows the bytes object yet, so that it may be written without the interpreter's lock */
        char *out = PyBytes_AS_STRING(text);
        size_t bytes;
        PyThreadState *state = cc_release_gil(count - done, MIN_NUMBERS_WITHOUT_GIL);
        done += (Py_ssize_t)write_some(numbers, done, count, out + used, capacity - used, &bytes);
        cc_acquire_gil(state);
        used += (Py_ssize_t)bytes;
        if (done < count) {
            /* what is left is taken to be as long as what is written, if that is more than usual */
            Py_ssize_t mean = used / (done ? done : 1) / USUAL_NUMBER_BYTES + 1;
            Py_ssize_t left = count - done;
            capacity = left > PY_SSIZE_T_MAX / mean ? -1 : capacity_for(used, left * mean);
            if (capacity < 0) {
                Py_DECREF(text);
                return PyErr_NoMemory();
            }
            _PyBytes_Resize(&text, capacity);
        }
    }
    if (text != NULL) {
        char *out = PyBytes_AS_STRING(text);
        out[0] = '[';
        used += count == 0;
        out[used - 1] = ']'; /* where the last comma is */
        _PyBytes_Resize(&text, used);
    }
    return text;
}

/* json_array(numbers) -> bytes */
static PyObject *json_array(PyObject *Py_UNUSED(self), PyObject *array) {
    Py_buffer numbers;
    if (!get_numbers(array, &numbers)) {
        return NULL;
    }
    PyObject *text = text_of(&numbers);
    PyBuffer_Release(&numbers);
    return text;
}

static PyMethodDef methods[] = {
    {"json_array", json_array, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {CC_MODULE_RULES, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cc_backend.archive._numbers",
    .m_doc = "Numbers as JSON text.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__numbers(void) { return PyModuleDef_Init(&module); }
