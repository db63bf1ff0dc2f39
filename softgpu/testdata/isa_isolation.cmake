# A function that two builds of the handlers define under one name is linked from either of them: a machine without
# AVX-512 would run the AVX-512 one. So each object file may define such (weak) functions in its own namespace only.
# -DISA=v4 -DNM=nm -DOBJECTS=a.o;b.o
foreach(object ${OBJECTS})
  execute_process(COMMAND ${NM} ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* [WVu] [^\n]*" weak "${symbols}")
  foreach(symbol ${weak})
    if(NOT symbol MATCHES "isa_${ISA}" AND NOT symbol MATCHES "DW\\.ref\\.__gxx_personality")
      message(SEND_ERROR "${object}: ${symbol}")
    endif()
  endforeach()
endforeach()
