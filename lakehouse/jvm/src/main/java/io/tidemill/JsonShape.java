package io.tidemill;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import org.apache.spark.sql.api.java.UDF1;

/**
 * {@code value → shape}: how many members a flat JSON object has, how many of them are not null, and how many are strings.
 *
 * <p>One pass of Jackson's parser over the bytes, which keeps nothing. The three counts stand in one number, {@value #BITS} bits each,
 * members lowest. What is not exactly one flat object has no shape: -1. Neither has one with a member that stands twice, or with a
 * surrogate written as an escape, which may lack its other half.
 */
public final class JsonShape implements UDF1<byte[], Long> {
  /** How many bits each of the counts has. */
  public static final int BITS = 20;

  private static final long serialVersionUID = 1L;
  private static final long NONE = -1;
  private static final long MOST = (1L << BITS) - 1;
  private static final JsonFactory FACTORY =
      JsonFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

  @Override
  public Long call(byte[] value) {
    if (value == null || escapesSurrogate(value)) {
      return NONE;
    }
    try (JsonParser parser = FACTORY.createParser(value)) {
      return shape(parser);
    } catch (IOException error) { // what is no JSON is no failure: others say what is wrong with it
      return NONE;
    }
  }

  private static long shape(JsonParser parser) throws IOException {
    if (parser.nextToken() != JsonToken.START_OBJECT) {
      return NONE;
    }
    long members = 0;
    long filled = 0;
    long strings = 0;
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      JsonToken token = parser.nextToken();
      if (!token.isScalarValue()) {
        return NONE;
      }
      members++;
      filled += token == JsonToken.VALUE_NULL ? 0 : 1;
      strings += token == JsonToken.VALUE_STRING ? 1 : 0;
    }
    boolean ends = parser.currentToken() == JsonToken.END_OBJECT && parser.nextToken() == null;
    return ends && members <= MOST ? members | filled << BITS | strings << 2 * BITS : NONE;
  }

  /** Says whether somewhere stands a backslash, {@code u}, {@code d}, and a digit from 8 on. */
  private static boolean escapesSurrogate(byte[] value) {
    for (int i = 0; i < value.length - 3; i++) {
      if (value[i] == '\\' && value[i + 1] == 'u' && (value[i + 2] | 0x20) == 'd' && value[i + 3] > '7') {
        return true;
      }
    }
    return false;
  }
}
