/// The two commands and what surrounds the services: configuration, the CRI socket, the one
/// interceptor every call passes, the record of recent operations, metrics and the doctor. Rules of
/// pods, images and networks live in the modules below; here they are only put together and served.
@NullMarked
package io.berth.daemon;

import org.jspecify.annotations.NullMarked;
