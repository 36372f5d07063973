// In the place of the native module, which downloads a library when it is installed. Nothing here encrypts.
"use strict";

module.exports = { StoreType: { Sled: 0, Sqlite: 1 } };
