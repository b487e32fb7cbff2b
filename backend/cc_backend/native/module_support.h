/* What the extension modules share: buffers that are checked before they are used, errors, and the interpreter's lock.
 */
#ifndef CC_MODULE_SUPPORT_H
#define CC_MODULE_SUPPORT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

/* A module runs in the main interpreter and with its lock only: neither subinterpreters nor builds without the lock are
 * supported. These slots say so to the interpreters that ask. */
#if PY_VERSION_HEX >= 0x030d0000
#define CC_MODULE_RULES                                                                                                \
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED}, { Py_mod_gil, Py_MOD_GIL_USED }
#elif PY_VERSION_HEX >= 0x030c0000
#define CC_MODULE_RULES {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED}
#else
static inline int cc_module_no_rules(PyObject *Py_UNUSED(module)) { return 0; }
#define CC_MODULE_RULES {Py_mod_exec, cc_module_no_rules}
#endif

static inline PyObject *cc_value_error(const char *text) {
    PyErr_SetString(PyExc_ValueError, text);
    return NULL;
}

static inline PyObject *cc_index_error(const char *text) {
    PyErr_SetString(PyExc_IndexError, text);
    return NULL;
}

/* Whether a buffer can be read as numbers of `size` bytes, a power of two; else ValueError is set. */
static inline int cc_is_aligned(const Py_buffer *view, size_t size) {
    if (!view->len || (uintptr_t)view->buf % size == 0) {
        return 1;
    }
    cc_value_error("an array does not begin at a multiple of the size of its numbers");
    return 0;
}

/* The buffer of an array of numbers of `size` bytes, `count` of them or with -1 any number. Returns 0 with ValueError
 * set for another type, number or alignment; else the caller releases it. */
static inline int cc_get_buffer(PyObject *source, Py_buffer *view, Py_ssize_t size, Py_ssize_t count, int flags) {
    if (PyObject_GetBuffer(source, view, flags | PyBUF_ND) < 0) {
        return 0;
    }
    if (view->itemsize != size || (count >= 0 && view->len != count * size)) {
        cc_value_error("an array has the wrong type or length");
    } else if (cc_is_aligned(view, (size_t)size)) {
        return 1;
    }
    PyBuffer_Release(view);
    return 0;
}

/* Lets other threads run where there is enough to do; NULL where the lock is kept. */
static inline PyThreadState *cc_release_gil(Py_ssize_t items, Py_ssize_t min_items) {
    return items >= min_items ? PyEval_SaveThread() : NULL;
}

static inline void cc_acquire_gil(PyThreadState *state) {
    if (state) {
        PyEval_RestoreThread(state);
    }
}

#endif
