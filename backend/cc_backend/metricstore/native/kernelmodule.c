/* The C kernel for Python: lines.c as the class `Table`, scatter.c as functions.
 *
 * The interpreter's lock is given up while a large batch is read. Meanwhile the table belongs to the thread that
 * reads: calls of others raise RuntimeError, but for questions about its size, which get the size before the batch.
 * The store's own lock makes all other calls follow each other anyway.
 */
#include "module_support.h"

#include "lines.h"
#include "scatter.h"

/* Batches below this size take less time to read than it can take to get the lock back. */
#define MIN_UNLOCKED_BYTES (256 * 1024)
#define MIN_UNLOCKED_SAMPLES (64 * 1024)
/* Room for results stays with the table, up to so many samples. */
#define MAX_IDLE_SAMPLES (64 * 1024)

typedef struct {
    PyObject_HEAD cc_lines_table *table;
    cc_lines_result result;
    unsigned long reader; /* thread that reads a batch */
    int reading;
    int resolving;           /* the reader is in Python code, which may look up and remember keys */
    size_t keys, size_bytes; /* as of the last change, for those who ask while a batch is read */
} Table;

static void update_sizes(Table *self) {
    const cc_lines_result *result = &self->result;
    size_t sample =
        sizeof *result->codes + sizeof *result->values + sizeof *result->times_s + sizeof *result->positions;
    size_t results = result->room * sample + result->slow_room * sizeof *result->slow;
    self->keys = cc_lines_count(self->table) + cc_lines_rejected(self->table);
    self->size_bytes = sizeof *self + cc_lines_size_bytes(self->table) + results;
}

static int check_idle(Table *self, int while_resolving) {
    if (!self->reading) {
        return 1;
    }
    if (while_resolving && self->resolving && self->reader == PyThread_get_thread_ident()) {
        return 1;
    }
    PyErr_SetString(PyExc_RuntimeError, "the table is in use: a batch is being read");
    return 0;
}

static PyObject *raise_status(cc_lines_status status) {
    if (status == CC_LINES_NO_MEMORY) {
        return PyErr_NoMemory();
    }
    if (status == CC_LINES_DUPLICATE) {
        cc_value_error("the key is remembered already");
    } else if (status == CC_LINES_BAD_KEY) {
        cc_value_error("no line can begin with this key, or it is too long, or its code is unknown");
    } else if (status == CC_LINES_FULL) {
        PyErr_SetString(PyExc_OverflowError, "the table is full");
    } else if (!PyErr_Occurred()) {
        cc_value_error("the resolver gave an unknown code");
    }
    return NULL;
}

static PyObject *table_new(PyTypeObject *type, PyObject *arguments, PyObject *names) {
    static char *keywords[] = {"seed", NULL};
    const char *seed;
    Py_ssize_t length;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "y#:Table", keywords, &seed, &length)) {
        return NULL;
    }
    if (length != 16) {
        return cc_value_error("the seed must have 16 bytes");
    }
    Table *self = (Table *)type->tp_alloc(type, 0);
    if (!self) {
        return NULL;
    }
    cc_lines_result_init(&self->result);
    self->table = cc_lines_new((const unsigned char *)seed);
    if (!self->table) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    update_sizes(self);
    return (PyObject *)self;
}

static void table_dealloc(Table *self) {
    PyTypeObject *type = Py_TYPE(self);
    cc_lines_free(self->table);
    cc_lines_result_free(&self->result);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *table_find(Table *self, PyObject *key) {
    char *text;
    Py_ssize_t length;
    int32_t code;
    if (!check_idle(self, 1) || PyBytes_AsStringAndSize(key, &text, &length) < 0) {
        return NULL;
    }
    if (!cc_lines_find(self->table, (const unsigned char *)text, (size_t)length, &code)) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLong(code);
}

static PyObject *table_remember(Table *self, PyObject *arguments) {
    const char *text;
    Py_ssize_t length;
    int code;
    if (!PyArg_ParseTuple(arguments, "y#i:remember", &text, &length, &code) || !check_idle(self, 1)) {
        return NULL;
    }
    cc_lines_status status = cc_lines_remember(self->table, (const unsigned char *)text, (size_t)length, code);
    update_sizes(self);
    if (status != CC_LINES_OK) {
        return raise_status(status);
    }
    Py_RETURN_NONE;
}

static PyObject *table_remember_many(Table *self, PyObject *arguments) {
    PyObject *list, *code_source;
    Py_buffer codes;
    if (!PyArg_ParseTuple(arguments, "O!O:remember_many", &PyList_Type, &list, &code_source) || !check_idle(self, 1)) {
        return NULL;
    }
    if (!cc_get_buffer(code_source, &codes, sizeof(int64_t), PyList_GET_SIZE(list), PyBUF_SIMPLE)) {
        return NULL;
    }
    const int64_t *code = codes.buf;
    cc_lines_status status = CC_LINES_OK;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(list) && status == CC_LINES_OK; at++) {
        PyObject *key = PyList_GET_ITEM(list, at);
        if (!PyBytes_Check(key) || code[at] < -CC_LINES_REJECTION_CODES || code[at] > INT32_MAX) {
            status = CC_LINES_BAD_KEY;
        } else {
            status = cc_lines_remember(self->table, (const unsigned char *)PyBytes_AS_STRING(key),
                                       (size_t)PyBytes_GET_SIZE(key), (int32_t)code[at]);
        }
    }
    PyBuffer_Release(&codes);
    update_sizes(self);
    if (status != CC_LINES_OK) {
        return raise_status(status);
    }
    Py_RETURN_NONE;
}

static PyObject *table_forget_rejected(Table *self, PyObject *Py_UNUSED(ignored)) {
    if (!check_idle(self, 1)) {
        return NULL;
    }
    cc_lines_forget_rejected(self->table);
    update_sizes(self);
    Py_RETURN_NONE;
}

static PyObject *table_keep(Table *self, PyObject *wanted) {
    Py_buffer flags;
    if (!check_idle(self, 0) || PyObject_GetBuffer(wanted, &flags, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    cc_lines_keep(self->table, flags.buf, (size_t)flags.len);
    update_sizes(self);
    PyBuffer_Release(&flags);
    Py_RETURN_NONE;
}

static PyObject *table_codes(Table *self, PyObject *Py_UNUSED(ignored)) {
    if (!check_idle(self, 0)) {
        return NULL;
    }
    PyObject *codes = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)(cc_lines_count(self->table) * sizeof(int64_t)));
    if (codes) {
        cc_lines_codes(self->table, (int64_t *)(void *)PyByteArray_AS_STRING(codes));
    }
    return codes;
}

/* Reading a batch */

typedef struct {
    Table *self;
    PyObject *resolve;
    PyThreadState *unlocked; /* NULL while the interpreter's lock is held */
} batch_reader;

/* Once a key has to be resolved the lock is kept for the rest of the batch: new keys seldom come alone, and getting the
 * lock back can take long. */
static int resolve_key(void *context, const unsigned char *key, size_t length, int32_t *code) {
    batch_reader *batch = context;
    if (batch->unlocked) {
        PyEval_RestoreThread(batch->unlocked);
        batch->unlocked = NULL;
    }
    PyObject *text = PyBytes_FromStringAndSize((const char *)key, (Py_ssize_t)length);
    if (!text) {
        return -1;
    }
    batch->self->resolving = 1;
    PyObject *result = PyObject_CallOneArg(batch->resolve, text);
    batch->self->resolving = 0;
    Py_DECREF(text);
    if (!result) {
        return -1;
    }
    long number = PyLong_AsLong(result);
    Py_DECREF(result);
    if (number == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (number < -CC_LINES_REJECTION_CODES || number > INT32_MAX) {
        cc_value_error("the resolver gave an unknown code");
        return -1;
    }
    *code = (int32_t)number;
    return 0;
}

static PyObject *bytearray_of(const void *items, size_t count, size_t size) {
    return PyByteArray_FromStringAndSize(items, (Py_ssize_t)(count * size));
}

static PyObject *rejected_lines(const cc_lines_result *result) {
    PyObject *list = PyList_New(0);
    for (int at = 0; list && at < CC_LINES_REJECTION_CODES; at++) {
        const cc_lines_rejection *rejected = &result->rejected[at];
        if (!rejected->count) {
            continue;
        }
        Py_ssize_t many =
            rejected->count < CC_LINES_MAX_POSITIONS ? (Py_ssize_t)rejected->count : CC_LINES_MAX_POSITIONS;
        PyObject *positions = PyList_New(many);
        for (Py_ssize_t index = 0; positions && index < many; index++) {
            PyObject *position = PyLong_FromLongLong(rejected->positions[index]);
            if (position) {
                PyList_SET_ITEM(positions, index, position);
            } else {
                Py_CLEAR(positions);
            }
        }
        PyObject *item =
            positions ? Py_BuildValue("iKN", -1 - at, (unsigned long long)rejected->count, positions) : NULL;
        if (!item || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *slow_lines(const cc_lines_result *result, const char *data) {
    PyObject *list = PyList_New((Py_ssize_t)result->slow_count);
    for (size_t index = 0; list && index < result->slow_count; index++) {
        const cc_lines_slow *slow = &result->slow[index];
        PyObject *item = Py_BuildValue("Ly#", (long long)slow->position, slow->length ? data + slow->begin : "",
                                       (Py_ssize_t)slow->length);
        if (item) {
            PyList_SET_ITEM(list, (Py_ssize_t)index, item);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *result_tuple(const cc_lines_result *result, const char *data) {
    size_t count = result->count;
    /* Positions are left out where they are 0, 1, 2 and so on. */
    int all = !count || result->positions[count - 1] == (int64_t)count - 1;
    int one_time = !count || result->oldest_s == result->newest_s;
    PyObject *codes = bytearray_of(result->codes, count, sizeof *result->codes);
    PyObject *values = bytearray_of(result->values, count, sizeof *result->values);
    PyObject *times = one_time ? PyLong_FromLongLong(count ? result->oldest_s : 0)
                               : bytearray_of(result->times_s, count, sizeof *result->times_s);
    PyObject *positions = all ? Py_NewRef(Py_None) : bytearray_of(result->positions, count, sizeof *result->positions);
    PyObject *rejected = rejected_lines(result);
    PyObject *slow = slow_lines(result, data);
    if (codes && values && times && positions && rejected && slow) {
        return Py_BuildValue("NNNNNN", codes, values, times, positions, rejected, slow);
    }
    Py_XDECREF(codes);
    Py_XDECREF(values);
    Py_XDECREF(times);
    Py_XDECREF(positions);
    Py_XDECREF(rejected);
    Py_XDECREF(slow);
    return NULL;
}

static PyObject *table_decode(Table *self, PyObject *arguments) {
    Py_buffer data;
    long long received_s;
    batch_reader batch = {.self = self};
    if (!PyArg_ParseTuple(arguments, "y*LO:decode", &data, &received_s, &batch.resolve)) {
        return NULL;
    }
    PyObject *result = NULL;
    if (check_idle(self, 0)) {
        self->reading = 1;
        self->reader = PyThread_get_thread_ident();
        if (data.len >= MIN_UNLOCKED_BYTES) {
            batch.unlocked = PyEval_SaveThread();
        }
        cc_lines_status status =
            cc_lines_decode(self->table, data.buf, (size_t)data.len, received_s, resolve_key, &batch, &self->result);
        if (batch.unlocked) {
            PyEval_RestoreThread(batch.unlocked);
        }
        if (status == CC_LINES_TOO_SLOW) {
            result = Py_NewRef(Py_None);
        } else {
            result = status == CC_LINES_OK ? result_tuple(&self->result, data.buf) : raise_status(status);
        }
        if (self->result.room > MAX_IDLE_SAMPLES || self->result.slow_room > MAX_IDLE_SAMPLES) {
            cc_lines_result_free(&self->result);
        }
        update_sizes(self);
        self->reading = 0;
    }
    PyBuffer_Release(&data);
    return result;
}

static Py_ssize_t table_length(Table *self) { return (Py_ssize_t)self->keys; }

static PyObject *table_size_bytes(Table *self, void *Py_UNUSED(closure)) { return PyLong_FromSize_t(self->size_bytes); }

static PyMethodDef table_methods[] = {
    {"find", (PyCFunction)table_find, METH_O, "The code of a key, or None."},
    {"remember", (PyCFunction)table_remember, METH_VARARGS, "Remember the code of a key."},
    {"remember_many", (PyCFunction)table_remember_many, METH_VARARGS, "Remember keys, each with its code."},
    {"forget_rejected", (PyCFunction)table_forget_rejected, METH_NOARGS, "Forget keys with codes below 0."},
    {"keep", (PyCFunction)table_keep, METH_O, "Forget rejected keys and those whose code is not flagged."},
    {"codes", (PyCFunction)table_codes, METH_NOARGS, "The codes from 0, as int64."},
    {"decode", (PyCFunction)table_decode, METH_VARARGS, "Read a batch; None if too many lines are not plain."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef table_properties[] = {
    {"size_bytes", (getter)table_size_bytes, NULL, "Memory, all overheads in.", NULL}, {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot table_slots[] = {{Py_tp_doc, "Keys of series lines, and the reader of batches."},
                                    {Py_tp_new, table_new},
                                    {Py_tp_dealloc, table_dealloc},
                                    {Py_tp_methods, table_methods},
                                    {Py_tp_getset, table_properties},
                                    {Py_sq_length, table_length},
                                    {0, NULL}};

static PyType_Spec table_spec = {.name = "cc_backend.metricstore._kernel.Table",
                                 .basicsize = sizeof(Table),
                                 .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                 .slots = table_slots};

/* Samples to their places */

/* An array of int64, or one number for all, in which case view->obj stays NULL. */
static int get_buffer_or_number(PyObject *source, Py_buffer *view, Py_ssize_t count, int64_t *number) {
    view->obj = NULL;
    if (!PyLong_Check(source)) {
        return cc_get_buffer(source, view, sizeof(int64_t), count, PyBUF_SIMPLE);
    }
    *number = PyLong_AsLongLong(source);
    return *number != -1 || !PyErr_Occurred();
}

static PyObject *index_error(void) { return cc_index_error("an index is out of bounds"); }

static PyObject *kernel_chunks(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *source;
    Py_buffer rows;
    int shift;
    if (!PyArg_ParseTuple(arguments, "Oi:chunks", &source, &shift)) {
        return NULL;
    }
    if (shift < 0 || shift > 62) {
        return index_error();
    }
    if (!cc_get_buffer(source, &rows, sizeof(int64_t), -1, PyBUF_SIMPLE)) {
        return NULL;
    }
    size_t count = (size_t)rows.len / sizeof(int64_t);
    PyObject *list = PyList_New(0);
    if (count && list) {
        int64_t min, max;
        cc_scatter_bounds(rows.buf, count, &min, &max);
        int64_t first = min >> shift;
        size_t span = (size_t)((max >> shift) - first) + 1;
        unsigned char *flags = min < 0 ? NULL : PyMem_Calloc(span, 1);
        if (min < 0) {
            index_error();
            Py_CLEAR(list);
        } else if (!flags) {
            PyErr_NoMemory();
            Py_CLEAR(list);
        } else {
            cc_scatter_flags(rows.buf, count, shift, first, flags, span);
            for (size_t at = 0; list && at < span; at++) {
                PyObject *chunk = flags[at] ? PyLong_FromLongLong(first + (int64_t)at) : NULL;
                if (flags[at] && (!chunk || PyList_Append(list, chunk) < 0)) {
                    Py_CLEAR(list);
                }
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
    cc_scatter_block *blocks;
} matrices;

static void release_matrices(matrices *all) {
    for (Py_ssize_t at = 0; all->views && at < all->count; at++) {
        if (all->views[at].obj) {
            PyBuffer_Release(&all->views[at]);
        }
    }
    PyMem_Free(all->views);
    PyMem_Free(all->blocks);
}

static int get_matrices(PyObject *list, matrices *all) {
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
        if (item == Py_None) {
            continue;
        }
        Py_buffer *view = &all->views[at];
        if (!cc_get_buffer(item, view, sizeof(float), -1, PyBUF_WRITABLE)) {
            view->obj = NULL;
            return 0;
        }
        if (view->ndim != 2) {
            cc_value_error("a block has no rows and columns");
            return 0;
        }
        all->blocks[at] = (cc_scatter_block){view->buf, view->shape[0], view->shape[1]};
    }
    return 1;
}

static PyObject *kernel_scatter(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *list, *row_source, *column_source, *value_source;
    long long first;
    int shift;
    if (!PyArg_ParseTuple(arguments, "O!LiOOO:scatter", &PyList_Type, &list, &first, &shift, &row_source,
                          &column_source, &value_source)) {
        return NULL;
    }
    if (shift < 0 || shift > 62) {
        return index_error();
    }
    Py_buffer rows = {0}, columns = {0}, values = {0};
    matrices all = {0};
    int64_t column = 0;
    PyObject *result = NULL;
    if (!cc_get_buffer(row_source, &rows, sizeof(int64_t), -1, PyBUF_SIMPLE)) {
        return NULL;
    }
    Py_ssize_t count = rows.len / (Py_ssize_t)sizeof(int64_t);
    if (!get_buffer_or_number(column_source, &columns, count, &column)) {
        goto rows_only;
    }
    if (!cc_get_buffer(value_source, &values, sizeof(float), count, PyBUF_SIMPLE)) {
        goto columns_too;
    }
    if (get_matrices(list, &all)) {
        PyThreadState *state = cc_release_gil(count, MIN_UNLOCKED_SAMPLES);
        int failed = cc_scatter_samples(all.blocks, (size_t)all.count, first, shift, rows.buf,
                                        columns.obj ? columns.buf : NULL, column, values.buf, (size_t)count);
        cc_acquire_gil(state);
        result = failed ? index_error() : Py_NewRef(Py_None);
    }
    release_matrices(&all);
    PyBuffer_Release(&values);
columns_too:
    if (columns.obj) {
        PyBuffer_Release(&columns);
    }
rows_only:
    PyBuffer_Release(&rows);
    return result;
}

static PyObject *kernel_newest(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *id_source, *time_source, *series_source, *host_source, *host_newest_source;
    if (!PyArg_ParseTuple(arguments, "OOOOO:newest", &id_source, &time_source, &series_source, &host_source,
                          &host_newest_source)) {
        return NULL;
    }
    Py_buffer ids = {0}, times = {0}, series = {0}, hosts = {0}, host_newest = {0};
    int64_t time = 0;
    PyObject *result = NULL;
    if (!cc_get_buffer(id_source, &ids, sizeof(int64_t), -1, PyBUF_SIMPLE)) {
        return NULL;
    }
    Py_ssize_t count = ids.len / (Py_ssize_t)sizeof(int64_t);
    if (get_buffer_or_number(time_source, &times, count, &time)) {
        if (cc_get_buffer(series_source, &series, sizeof(int64_t), -1, PyBUF_WRITABLE)) {
            if (cc_get_buffer(host_source, &hosts, sizeof(int32_t), -1, PyBUF_SIMPLE)) {
                if (cc_get_buffer(host_newest_source, &host_newest, sizeof(int64_t), -1, PyBUF_WRITABLE)) {
                    const int64_t *each = times.obj ? times.buf : NULL;
                    int failed = cc_scatter_newest(ids.buf, each, time, (size_t)count, NULL, 0, series.buf,
                                                   (size_t)series.len / sizeof(int64_t));
                    if (!failed) {
                        failed = cc_scatter_newest(ids.buf, each, time, (size_t)count, hosts.buf,
                                                   (size_t)hosts.len / sizeof(int32_t), host_newest.buf,
                                                   (size_t)host_newest.len / sizeof(int64_t));
                    }
                    result = failed ? index_error() : Py_NewRef(Py_None);
                    PyBuffer_Release(&host_newest);
                }
                PyBuffer_Release(&hosts);
            }
            PyBuffer_Release(&series);
        }
        if (times.obj) {
            PyBuffer_Release(&times);
        }
    }
    PyBuffer_Release(&ids);
    return result;
}

static PyMethodDef kernel_functions[] = {
    {"chunks", kernel_chunks, METH_VARARGS, "The different rows >> shift, ascending."},
    {"scatter", kernel_scatter, METH_VARARGS, "Write samples to their rows and columns."},
    {"newest", kernel_newest, METH_VARARGS, "Note the newest times of series and hosts."},
    {NULL, NULL, 0, NULL}};

/* The module */

static int module_start(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &table_spec, NULL);
    if (!type) {
        return -1;
    }
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_start}, CC_MODULE_RULES, {0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "cc_backend.metricstore._kernel",
                                    .m_doc = "The C kernel of the metric store.", .m_methods = kernel_functions,
                                    .m_slots = module_slots};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&module); }
