/* The C kernel for Python: lines.c as the class `Table`, scatter.c as functions.
 *
 * The interpreter's lock is given up while a large batch is read. Meanwhile the table belongs to the reading thread:
 * calls of others are refused with RuntimeError, but for questions about its size, which get the size before the batch.
 * The store's own lock makes all other calls follow each other anyway.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "lines.h"
#include "scatter.h"

/* Batches below this size take less time to read than it can take to get the lock back. */
#define LEAST_UNLOCKED_BYTES (256 * 1024)
#define LEAST_UNLOCKED_SAMPLES (64 * 1024)
/* Room for results stays with the table, up to so many samples. */
#define MOST_IDLE_SAMPLES (64 * 1024)

typedef struct {
    PyObject_HEAD
    lines_table *table;
    lines_result result;
    unsigned long reader; /* thread that reads a batch */
    int reading;
    int resolving; /* the reader is in Python code, which may look up and remember keys */
    size_t keys, size_bytes; /* as of the last change, for those who ask while a batch is read */
} Table;

static void note(Table *self) {
    const lines_result *result = &self->result;
    size_t sample = sizeof *result->codes + sizeof *result->values + sizeof *result->times_s + sizeof *result->positions;
    size_t results = result->room * sample + result->slow_room * sizeof *result->slow;
    self->keys = lines_count(self->table) + lines_refused(self->table);
    self->size_bytes = sizeof *self + lines_size_bytes(self->table) + results;
}

static int check_free(Table *self, int while_resolving) {
    if (!self->reading) return 1;
    if (while_resolving && self->resolving && self->reader == PyThread_get_thread_ident()) return 1;
    PyErr_SetString(PyExc_RuntimeError, "the table is in use: a batch is being read");
    return 0;
}

static PyObject *raised(lines_status status) {
    if (status == LINES_NO_MEMORY) return PyErr_NoMemory();
    if (status == LINES_KNOWN)
        PyErr_SetString(PyExc_ValueError, "the key is remembered already");
    else if (status == LINES_BAD_KEY)
        PyErr_SetString(PyExc_ValueError, "no line can begin with this key, or it is too long, or its code is unknown");
    else if (status == LINES_FULL)
        PyErr_SetString(PyExc_OverflowError, "the table is full");
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "the resolver gave an unknown code");
    return NULL;
}

static PyObject *table_new(PyTypeObject *type, PyObject *arguments, PyObject *names) {
    static char *keywords[] = {"seed", NULL};
    const char *seed;
    Py_ssize_t length;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "y#:Table", keywords, &seed, &length)) return NULL;
    if (length != 16) {
        PyErr_SetString(PyExc_ValueError, "the seed must have 16 bytes");
        return NULL;
    }
    Table *self = (Table *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    lines_result_init(&self->result);
    self->table = lines_new((const unsigned char *)seed);
    if (!self->table) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    note(self);
    return (PyObject *)self;
}

static void table_dealloc(Table *self) {
    PyTypeObject *type = Py_TYPE(self);
    lines_free(self->table);
    lines_result_free(&self->result);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *table_find(Table *self, PyObject *key) {
    char *text;
    Py_ssize_t length;
    int32_t code;
    if (!check_free(self, 1) || PyBytes_AsStringAndSize(key, &text, &length) < 0) return NULL;
    if (!lines_find(self->table, (const unsigned char *)text, (size_t)length, &code)) Py_RETURN_NONE;
    return PyLong_FromLong(code);
}

static PyObject *table_remember(Table *self, PyObject *arguments) {
    const char *text;
    Py_ssize_t length;
    int code;
    if (!PyArg_ParseTuple(arguments, "y#i:remember", &text, &length, &code) || !check_free(self, 1)) return NULL;
    lines_status status = lines_remember(self->table, (const unsigned char *)text, (size_t)length, code);
    note(self);
    if (status != LINES_OK) return raised(status);
    Py_RETURN_NONE;
}

static PyObject *table_forget_refused(Table *self, PyObject *Py_UNUSED(ignored)) {
    if (!check_free(self, 1)) return NULL;
    lines_forget_refused(self->table);
    note(self);
    Py_RETURN_NONE;
}

static PyObject *table_keep(Table *self, PyObject *wanted) {
    Py_buffer flags;
    if (!check_free(self, 0) || PyObject_GetBuffer(wanted, &flags, PyBUF_SIMPLE) < 0) return NULL;
    lines_keep(self->table, flags.buf, (size_t)flags.len);
    note(self);
    PyBuffer_Release(&flags);
    Py_RETURN_NONE;
}

static PyObject *table_codes(Table *self, PyObject *Py_UNUSED(ignored)) {
    if (!check_free(self, 0)) return NULL;
    PyObject *codes = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)(lines_count(self->table) * sizeof(int64_t)));
    if (codes) lines_codes(self->table, (int64_t *)(void *)PyByteArray_AS_STRING(codes));
    return codes;
}

/* Reading a batch */

typedef struct {
    Table *self;
    PyObject *resolve;
    PyThreadState *unlocked; /* NULL while the interpreter's lock is held */
} reading;

/* Once a key has to be resolved the lock is kept for the rest of the batch: new keys seldom come alone, and getting the
 * lock back can take long. */
static int resolve_key(void *context, const unsigned char *key, size_t length, int32_t *code) {
    reading *batch = context;
    if (batch->unlocked) {
        PyEval_RestoreThread(batch->unlocked);
        batch->unlocked = NULL;
    }
    PyObject *text = PyBytes_FromStringAndSize((const char *)key, (Py_ssize_t)length);
    if (!text) return -1;
    batch->self->resolving = 1;
    PyObject *answer = PyObject_CallOneArg(batch->resolve, text);
    batch->self->resolving = 0;
    Py_DECREF(text);
    if (!answer) return -1;
    long number = PyLong_AsLong(answer);
    Py_DECREF(answer);
    if (number == -1 && PyErr_Occurred()) return -1;
    if (number < -LINES_CODES || number > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "the resolver gave an unknown code");
        return -1;
    }
    *code = (int32_t)number;
    return 0;
}

static PyObject *array_of(const void *items, size_t count, size_t size) {
    return PyByteArray_FromStringAndSize(items, (Py_ssize_t)(count * size));
}

static PyObject *refused_lines(const lines_result *result) {
    PyObject *list = PyList_New(0);
    for (int at = 0; list && at < LINES_CODES; at++) {
        const lines_refusal *refused = &result->refused[at];
        if (!refused->count) continue;
        Py_ssize_t many = refused->count < LINES_NAMED ? (Py_ssize_t)refused->count : LINES_NAMED;
        PyObject *positions = PyList_New(many);
        for (Py_ssize_t index = 0; positions && index < many; index++) {
            PyObject *position = PyLong_FromLongLong(refused->positions[index]);
            if (position)
                PyList_SET_ITEM(positions, index, position);
            else
                Py_CLEAR(positions);
        }
        PyObject *item = positions ? Py_BuildValue("iKN", -1 - at, (unsigned long long)refused->count, positions) : NULL;
        if (!item || PyList_Append(list, item) < 0) Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *slow_lines(const lines_result *result, const char *data) {
    PyObject *list = PyList_New((Py_ssize_t)result->slow_count);
    for (size_t index = 0; list && index < result->slow_count; index++) {
        const lines_slow *slow = &result->slow[index];
        PyObject *item = Py_BuildValue(
            "Ly#", (long long)slow->position, slow->length ? data + slow->begin : "", (Py_ssize_t)slow->length);
        if (item)
            PyList_SET_ITEM(list, (Py_ssize_t)index, item);
        else
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *answer_of(const lines_result *result, const char *data) {
    size_t count = result->count;
    /* Positions are left out where they are 0, 1, 2 and so on. */
    int all = !count || result->positions[count - 1] == (int64_t)count - 1;
    int one_time = !count || result->oldest_s == result->newest_s;
    PyObject *codes = array_of(result->codes, count, sizeof *result->codes);
    PyObject *values = array_of(result->values, count, sizeof *result->values);
    PyObject *times = one_time ? PyLong_FromLongLong(count ? result->oldest_s : 0)
                               : array_of(result->times_s, count, sizeof *result->times_s);
    PyObject *positions = all ? Py_NewRef(Py_None) : array_of(result->positions, count, sizeof *result->positions);
    PyObject *refused = refused_lines(result);
    PyObject *slow = slow_lines(result, data);
    if (codes && values && times && positions && refused && slow)
        return Py_BuildValue("NNNNNN", codes, values, times, positions, refused, slow);
    Py_XDECREF(codes);
    Py_XDECREF(values);
    Py_XDECREF(times);
    Py_XDECREF(positions);
    Py_XDECREF(refused);
    Py_XDECREF(slow);
    return NULL;
}

static PyObject *table_decode(Table *self, PyObject *arguments) {
    Py_buffer data;
    long long received_s;
    reading batch = {.self = self};
    if (!PyArg_ParseTuple(arguments, "y*LO:decode", &data, &received_s, &batch.resolve)) return NULL;
    PyObject *answer = NULL;
    if (check_free(self, 0)) {
        self->reading = 1;
        self->reader = PyThread_get_thread_ident();
        if (data.len >= LEAST_UNLOCKED_BYTES) batch.unlocked = PyEval_SaveThread();
        lines_status status = lines_decode(
            self->table, data.buf, (size_t)data.len, received_s, resolve_key, &batch, &self->result);
        if (batch.unlocked) PyEval_RestoreThread(batch.unlocked);
        if (status == LINES_TOO_SLOW)
            answer = Py_NewRef(Py_None);
        else
            answer = status == LINES_OK ? answer_of(&self->result, data.buf) : raised(status);
        if (self->result.room > MOST_IDLE_SAMPLES || self->result.slow_room > MOST_IDLE_SAMPLES)
            lines_result_free(&self->result);
        note(self);
        self->reading = 0;
    }
    PyBuffer_Release(&data);
    return answer;
}

static Py_ssize_t table_length(Table *self) {
    return (Py_ssize_t)self->keys;
}

static PyObject *table_size_bytes(Table *self, void *Py_UNUSED(closure)) {
    return PyLong_FromSize_t(self->size_bytes);
}

static PyMethodDef table_methods[] = {
    {"find", (PyCFunction)table_find, METH_O, "The code of a key, or None."},
    {"remember", (PyCFunction)table_remember, METH_VARARGS, "Remember the code of a key."},
    {"forget_refused", (PyCFunction)table_forget_refused, METH_NOARGS, "Forget keys with codes below 0."},
    {"keep", (PyCFunction)table_keep, METH_O, "Forget refused keys and those whose code is not flagged."},
    {"codes", (PyCFunction)table_codes, METH_NOARGS, "The codes from 0, as int64."},
    {"decode", (PyCFunction)table_decode, METH_VARARGS, "Read a batch; None if too many lines are not plain."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef table_properties[] = {
    {"size_bytes", (getter)table_size_bytes, NULL, "Memory, all overheads in.", NULL}, {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot table_slots[] = {
    {Py_tp_doc, "Keys of series lines, and the reader of batches."},
    {Py_tp_new, table_new},
    {Py_tp_dealloc, table_dealloc},
    {Py_tp_methods, table_methods},
    {Py_tp_getset, table_properties},
    {Py_sq_length, table_length},
    {0, NULL}};

static PyType_Spec table_spec = {
    .name = "cc_backend.metricstore._kernel.Table",
    .basicsize = sizeof(Table),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = table_slots};

/* Samples to their places */

/* One buffer of numbers of a size; `count` of them is checked unless it is -1. */
static int take(PyObject *source, Py_buffer *view, Py_ssize_t size, Py_ssize_t count, int flags) {
    if (PyObject_GetBuffer(source, view, flags | PyBUF_ND) < 0) return 0;
    if (view->itemsize == size && (count < 0 || view->len == count * size)) return 1;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "an array has the wrong type or length");
    return 0;
}

/* An array of int64, or one number for all, in which case view->obj stays NULL. */
static int take_or_number(PyObject *source, Py_buffer *view, Py_ssize_t count, int64_t *number) {
    view->obj = NULL;
    if (!PyLong_Check(source)) return take(source, view, sizeof(int64_t), count, PyBUF_SIMPLE);
    *number = PyLong_AsLongLong(source);
    return *number != -1 || !PyErr_Occurred();
}

static PyObject *out_of_bounds(void) {
    PyErr_SetString(PyExc_IndexError, "an index is out of bounds");
    return NULL;
}

static PyObject *kernel_chunks(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *source;
    Py_buffer rows;
    int shift;
    if (!PyArg_ParseTuple(arguments, "Oi:chunks", &source, &shift)) return NULL;
    if (shift < 0 || shift > 62) return out_of_bounds();
    if (!take(source, &rows, sizeof(int64_t), -1, PyBUF_SIMPLE)) return NULL;
    size_t count = (size_t)rows.len / sizeof(int64_t);
    PyObject *list = PyList_New(0);
    if (count && list) {
        int64_t least, highest;
        scatter_bounds(rows.buf, count, &least, &highest);
        int64_t first = least >> shift;
        size_t span = (size_t)((highest >> shift) - first) + 1;
        unsigned char *flags = least < 0 ? NULL : PyMem_Calloc(span, 1);
        if (least < 0) {
            out_of_bounds();
            Py_CLEAR(list);
        } else if (!flags) {
            PyErr_NoMemory();
            Py_CLEAR(list);
        } else {
            scatter_flags(rows.buf, count, shift, first, flags, span);
            for (size_t at = 0; list && at < span; at++) {
                PyObject *chunk = flags[at] ? PyLong_FromLongLong(first + (int64_t)at) : NULL;
                if (flags[at] && (!chunk || PyList_Append(list, chunk) < 0)) Py_CLEAR(list);
                Py_XDECREF(chunk);
            }
        }
        PyMem_Free(flags);
    }
    PyBuffer_Release(&rows);
    return list;
}

/* The matrices of a list in which None stands for a missing one; their buffers are held until they are released. */
typedef struct {
    Py_ssize_t count;
    Py_buffer *views;
    scatter_block *blocks;
} matrices;

static void release_matrices(matrices *all) {
    for (Py_ssize_t at = 0; all->views && at < all->count; at++)
        if (all->views[at].obj) PyBuffer_Release(&all->views[at]);
    PyMem_Free(all->views);
    PyMem_Free(all->blocks);
}

static int take_matrices(PyObject *list, matrices *all) {
    *all = (matrices){.count = PyList_GET_SIZE(list)};
    all->views = PyMem_Calloc((size_t)all->count + 1, sizeof *all->views);
    all->blocks = PyMem_Calloc((size_t)all->count + 1, sizeof *all->blocks);
    if (!all->views || !all->blocks) {
        PyErr_NoMemory();
        return 0;
    }
    for (Py_ssize_t at = 0; at < all->count; at++) {
        /* Taking a buffer runs no code that could change the list: only arrays, or anything else in C, have buffers. */
        PyObject *item = at < PyList_GET_SIZE(list) ? PyList_GET_ITEM(list, at) : Py_None;
        if (item == Py_None) continue;
        Py_buffer *view = &all->views[at];
        if (!take(item, view, sizeof(float), -1, PyBUF_WRITABLE)) {
            view->obj = NULL;
            return 0;
        }
        if (view->ndim != 2) {
            PyErr_SetString(PyExc_ValueError, "a block has no rows and columns");
            return 0;
        }
        all->blocks[at] = (scatter_block){view->buf, view->shape[0], view->shape[1]};
    }
    return 1;
}

static PyObject *kernel_scatter(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *list, *row_source, *column_source, *value_source;
    long long first;
    int shift;
    if (!PyArg_ParseTuple(
            arguments, "O!LiOOO:scatter", &PyList_Type, &list, &first, &shift, &row_source, &column_source,
            &value_source))
        return NULL;
    if (shift < 0 || shift > 62) return out_of_bounds();
    Py_buffer rows = {0}, columns = {0}, values = {0};
    matrices all = {0};
    int64_t column = 0;
    PyObject *answer = NULL;
    if (!take(row_source, &rows, sizeof(int64_t), -1, PyBUF_SIMPLE)) return NULL;
    Py_ssize_t count = rows.len / (Py_ssize_t)sizeof(int64_t);
    if (!take_or_number(column_source, &columns, count, &column)) goto rows_only;
    if (!take(value_source, &values, sizeof(float), count, PyBUF_SIMPLE)) goto columns_too;
    if (take_matrices(list, &all)) {
        int failed;
        if (count >= LEAST_UNLOCKED_SAMPLES) {
            Py_BEGIN_ALLOW_THREADS
            failed = scatter_samples(
                all.blocks, (size_t)all.count, first, shift, rows.buf, columns.obj ? columns.buf : NULL, column,
                values.buf, (size_t)count);
            Py_END_ALLOW_THREADS
        } else {
            failed = scatter_samples(
                all.blocks, (size_t)all.count, first, shift, rows.buf, columns.obj ? columns.buf : NULL, column,
                values.buf, (size_t)count);
        }
        answer = failed ? out_of_bounds() : Py_NewRef(Py_None);
    }
    release_matrices(&all);
    PyBuffer_Release(&values);
columns_too:
    if (columns.obj) PyBuffer_Release(&columns);
rows_only:
    PyBuffer_Release(&rows);
    return answer;
}

static PyObject *kernel_newest(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *id_source, *time_source, *series_source, *host_source, *host_newest_source;
    if (!PyArg_ParseTuple(
            arguments, "OOOOO:newest", &id_source, &time_source, &series_source, &host_source, &host_newest_source))
        return NULL;
    Py_buffer ids = {0}, times = {0}, series = {0}, hosts = {0}, host_newest = {0};
    int64_t time = 0;
    PyObject *answer = NULL;
    if (!take(id_source, &ids, sizeof(int64_t), -1, PyBUF_SIMPLE)) return NULL;
    Py_ssize_t count = ids.len / (Py_ssize_t)sizeof(int64_t);
    if (take_or_number(time_source, &times, count, &time)) {
        if (take(series_source, &series, sizeof(int64_t), -1, PyBUF_WRITABLE)) {
            if (take(host_source, &hosts, sizeof(int32_t), -1, PyBUF_SIMPLE)) {
                if (take(host_newest_source, &host_newest, sizeof(int64_t), -1, PyBUF_WRITABLE)) {
                    const int64_t *each = times.obj ? times.buf : NULL;
                    int failed = scatter_newest(
                        ids.buf, each, time, (size_t)count, NULL, 0, series.buf, (size_t)series.len / sizeof(int64_t));
                    if (!failed)
                        failed = scatter_newest(
                            ids.buf, each, time, (size_t)count, hosts.buf, (size_t)hosts.len / sizeof(int32_t),
                            host_newest.buf, (size_t)host_newest.len / sizeof(int64_t));
                    answer = failed ? out_of_bounds() : Py_NewRef(Py_None);
                    PyBuffer_Release(&host_newest);
                }
                PyBuffer_Release(&hosts);
            }
            PyBuffer_Release(&series);
        }
        if (times.obj) PyBuffer_Release(&times);
    }
    PyBuffer_Release(&ids);
    return answer;
}

static PyMethodDef kernel_functions[] = {
    {"chunks", kernel_chunks, METH_VARARGS, "The different rows >> shift, ascending."},
    {"scatter", kernel_scatter, METH_VARARGS, "Write samples to their rows and columns."},
    {"newest", kernel_newest, METH_VARARGS, "Note the newest times of series and hosts."},
    {NULL, NULL, 0, NULL}};

/* The module */

static int module_start(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &table_spec, NULL);
    if (!type) return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_start}, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cc_backend.metricstore._kernel",
    .m_doc = "The C kernel of the metric store.",
    .m_methods = kernel_functions,
    .m_slots = module_slots};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&module); }
