/* A CUDA in miniature: one function for every shape of parameter the generator knows. */
#ifndef TOY_H
#define TOY_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef enum cudaError_enum { CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1 } CUresult;
typedef enum toyAttribute_enum { TOY_SMALL = 1, TOY_LARGE = 2 } toyAttribute;
typedef enum toyShape_enum { TOY_LINE = 0, TOY_BOX = 1, TOY_SECRET = 2 } toyShape;
typedef struct CUstream_st* CUstream;
typedef struct CUevent_st* CUevent;
typedef struct CUgraph_st* CUgraph;
typedef struct CUgraphNode_st* CUgraphNode;
typedef struct CUfunc_st* CUfunction;
typedef struct toyWindow_st* toyWindow;
typedef unsigned long long CUmemGenericAllocationHandle;
typedef unsigned long long CUdeviceptr;

typedef struct toyPoint_st {
  int x, y;
} toyPoint;

typedef struct toyFigure_st {
  toyShape shape;
  toyPoint corner;
  unsigned char key[4];
  float weights[3];
  void* memory;
  CUevent ready;
  union {
    struct {
      toyPoint end;
    } line;
    struct {
      size_t width, height;
    } box;
    int reserved[8];
  } form;
  int reserved[4];
} toyFigure;

typedef struct toyBytes_st {
  char reserved[64];
} toyBytes;

typedef struct toyLinked_st {
  struct toyLinked_st* next;
} toyLinked;

CUresult toyGetLimit(size_t* value, toyAttribute attribute);
CUresult toyGetVersion(int* version);
CUresult toyOpen(const char* path, unsigned int Flags);
CUresult toyGetName(char* name, int len, int device);
CUresult toyStreamCreate(CUstream* phStream, unsigned int flags);
CUresult toyStreamDestroy(CUstream hStream);
CUresult toyStreamDestroy_old(CUstream hStream);
CUresult toyStreamGraph(CUstream hStream, CUgraph* graph_out, CUgraphNode** nodes_out);
CUresult toyEventRecord(CUevent hEvent, CUstream hStream);
CUresult toyEventRecord_ptsz(CUevent hEvent, CUstream hStream);
CUresult toyFill(CUdeviceptr address, unsigned char value, size_t count);
CUresult toyFill_ptds(CUdeviceptr address, unsigned char value, size_t count);
CUresult toyFillAsync(CUdeviceptr address, unsigned char value, size_t count, CUstream hStream);
CUresult toyFillAsync_ptsz(CUdeviceptr address, unsigned char value, size_t count, CUstream hStream);
CUresult toySync(void);
CUresult toySync_ptsz(void);
CUresult toyAddNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies, size_t count);
CUresult toyGetNodes(CUgraph graph, CUgraphNode* nodes, size_t* count);
CUresult toyDraw(const toyFigure* figure, const toyPoint* points, unsigned int count);
CUresult toyGetFigure(toyFigure* figure, CUgraphNode node);
CUresult toySetAttribute(CUfunction function, toyAttribute attribute, const void* value);
CUresult toyGetAttribute(CUfunction function, toyAttribute attribute, void* value);
CUresult toyWrite(const void* bytes, size_t count, void* reserved);
CUresult toyAlloc(void** pointer, size_t bytes, CUstream hStream);
CUresult toyFree(void* pointer, CUstream hStream);
CUresult toyCreateHandle(CUmemGenericAllocationHandle* handle, toyBytes bytes);
CUresult toyReleaseHandle(CUmemGenericAllocationHandle handle);
CUresult toyMoveBy(toyPoint* point);
CUresult toyLaunch(CUfunction f, CUstream hStream, void** params);
CUresult toyLaunch_ptsz(CUfunction f, CUstream hStream, void** params);
CUresult toyCallback(void (*function)(void*), void* data);
CUresult toyShowWindow(toyWindow window);
CUresult toyLink(const toyLinked* list);
CUresult toyNothingYet(int* p);
const char* toyErrorName(CUresult result);

#ifdef __cplusplus
}
#endif
#endif
