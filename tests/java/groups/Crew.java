import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** A member of a group that says what happens to it: Crew SECONDS TOPIC key=value ... A topic that begins with ^ is a pattern. */
public class Crew {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        for (int i = 2; i < args.length; i++) {
            properties.put(args[i].substring(0, args[i].indexOf('=')), args[i].substring(args[i].indexOf('=') + 1));
        }
        properties.put("key.deserializer", StringDeserializer.class);
        properties.put("value.deserializer", StringDeserializer.class);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties);
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join(10_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                say("assigned", partitions);
            }

            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                consumer.commitSync();
                say("revoked", partitions);
            }

            public void onPartitionsLost(Collection<TopicPartition> partitions) {
                say("lost", partitions);
            }

            private void say(String what, Collection<TopicPartition> partitions) {
                List<String> names = new ArrayList<>();
                partitions.forEach(partition -> names.add(partition.toString()));
                names.sort(null);
                List<String> owned = new ArrayList<>();
                consumer.assignment().forEach(partition -> owned.add(partition.toString()));
                owned.sort(null);
                System.out.println("crew " + what + " " + String.join(",", names) + " owns " + String.join(",", owned));
            }
        };
        if (args[1].startsWith("^")) {
            consumer.subscribe(Pattern.compile(args[1]), listener);
        } else {
            consumer.subscribe(List.of(args[1]), listener);
        }
        long end = System.currentTimeMillis() + Long.parseLong(args[0]) * 1000;
        try {
            while (System.currentTimeMillis() < end) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                records.forEach(record -> System.out.println("crew read " + record.value()));
            }
        } catch (WakeupException e) {
            System.out.println("crew stops");
        }
        consumer.close(CloseOptions.timeout(Duration.ofSeconds(5)));
        System.out.println("crew closed");
    }
}
