//! The five texts that the standard mandates: lower case, without full stop.

pub(crate) const SIZE_NOT_MULTIPLE_OF_8: &str = "size shall be a multiple of 8";
pub(crate) const MANDATORY_UNSUPPORTED: &str = "not all extension_mandatory parameters are supported";
pub(crate) const MANDATORY_NOT_MET: &str = "not all extension_mandatory request options could be met";
pub(crate) const OPTIONAL_NOT_HANDLED: &str = "not all extension_optional request options handled";
pub(crate) const KEYS_NOT_FOUND: &str = "one or more keys specified are not found on KME";
