//! Decoding of frames between KMEs.
#![cfg_attr(fuzzing, no_main)]
fuzz::target!(kx_frame);
