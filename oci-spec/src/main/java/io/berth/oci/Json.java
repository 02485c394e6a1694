package io.berth.oci;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;

/** The one JSON reader and writer of the OCI formats: unknown fields ignored, null left out. */
public final class Json {

  /** Shared and never reconfigured; a reader of another shape derives its own with {@code copy}. */
  public static final ObjectMapper MAPPER =
      JsonMapper.builder()
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .disable(SerializationFeature.WRITE_DATES_AS_TIMESTAMPS)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .disable(MapperFeature.DEFAULT_VIEW_INCLUSION)
          .defaultPropertyInclusion(
              JsonInclude.Value.construct(
                  JsonInclude.Include.NON_NULL, JsonInclude.Include.NON_NULL))
          .build();

  private Json() {}

  /**
   * Reads a whole document.
   *
   * @param what names the document in the error, for example {@code "image manifest"}
   * @throws IllegalArgumentException if the bytes are not such a document; the message gives line
   *     and column but never the content
   */
  public static <T> T read(byte[] document, Class<T> type, String what) {
    try {
      T value = MAPPER.readValue(document, type);
      if (value == null) {
        throw new IllegalArgumentException(what + " is the JSON value null");
      }
      return value;
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(what + " is malformed: " + explain(e), e);
    } catch (IOException e) { // bytes that are no text in the encoding that they seem to have
      throw new IllegalArgumentException(what + " is malformed: it is no UTF-8 text", e);
    }
  }

  /** Compact UTF-8 bytes. */
  public static byte[] write(Object value) {
    try {
      return MAPPER.writeValueAsBytes(value);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("cannot write " + value.getClass().getSimpleName(), e);
    }
  }

  private static String explain(JsonProcessingException e) {
    var where = e.getLocation();
    String place =
        where == null || where.getLineNr() < 0
            ? ""
            : " (line " + where.getLineNr() + ", column " + where.getColumnNr() + ")";
    return e.getOriginalMessage() + place;
  }
}
