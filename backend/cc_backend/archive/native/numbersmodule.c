/* The Python side of decimals.c: an array in, its text out; what kind of array it is, is checked here. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#include "decimals.h"

#define MANY_NUMBERS 32768 /* from here on it pays to let other threads run */
#define USUAL_NUMBER_BYTES 8

static size_t write_some(const Py_buffer *numbers, Py_ssize_t first, Py_ssize_t count, char *out, Py_ssize_t room,
                         size_t *used) {
    if (numbers->itemsize == sizeof(float)) {
        return cc_write_floats((const float *)numbers->buf + first, (size_t)(count - first), out, (size_t)room, used);
    }
    return cc_write_doubles((const double *)numbers->buf + first, (size_t)(count - first), out, (size_t)room, used);
}

/* What is wrong with an array, NULL if nothing is. */
static const char *fault_of(const Py_buffer *numbers) {
    int single = numbers->format != NULL && strcmp(numbers->format, "f") == 0 && numbers->itemsize == sizeof(float);
    int wide = numbers->format != NULL && strcmp(numbers->format, "d") == 0 && numbers->itemsize == sizeof(double);
    if (!single && !wide) {
        return "the array must be of native 32-bit or 64-bit floats";
    }
    if ((uintptr_t)numbers->buf % (single ? _Alignof(float) : _Alignof(double)) != 0) {
        return "the array is not aligned";
    }
    return NULL;
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
        PyThreadState *state = count - done >= MANY_NUMBERS ? PyEval_SaveThread() : NULL;
        done += (Py_ssize_t)write_some(numbers, done, count, out + used, capacity - used, &bytes);
        if (state != NULL) {
            PyEval_RestoreThread(state);
        }
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
    PyObject *text = NULL;
    const char *fault;
    if (PyObject_GetBuffer(array, &numbers, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
        return NULL;
    }
    fault = fault_of(&numbers);
    if (fault != NULL) {
        PyErr_SetString(PyExc_ValueError, fault);
    } else {
        text = text_of(&numbers);
    }
    PyBuffer_Release(&numbers);
    return text;
}

static PyMethodDef methods[] = {
    {"json_array", json_array, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_numbers", .m_doc = "Numbers as JSON text.", .m_size = 0, .m_methods = methods,
};

PyMODINIT_FUNC PyInit__numbers(void) { return PyModuleDef_Init(&module); }
